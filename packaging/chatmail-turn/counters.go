package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type direction int

const (
	toPeer direction = iota
	fromPeer
)

// counters are what is told to Prometheus: sums, and nobody's address or name.
type counters struct {
	bindings, allocations, limited, permissionsRefused, credentials atomic.Uint64
	packets, bytes                                                  [2]atomic.Uint64

	lock    sync.Mutex
	reasons map[[2]string]uint64
}

func newCounters() *counters {
	return &counters{reasons: map[[2]string]uint64{}}
}

func (c *counters) relayed(way direction, size int) {
	c.packets[way].Add(1)
	c.bytes[way].Add(uint64(size))
}

func (c *counters) refused(reason string)  { c.because("allocations_refused_total", reason) }
func (c *counters) rejected(reason string) { c.because("authentication_failures_total", reason) }
func (c *counters) dropped(reason string)  { c.because("packets_dropped_total", reason) }

func (c *counters) because(name, reason string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.reasons[[2]string{name, reason}]++
}

// write the counters in Prometheus's text format.
func (c *counters) write(out io.Writer, live int) {
	plain := func(kind, name string, value uint64) {
		fmt.Fprintf(out, "# TYPE chatmail_turn_%s %s\nchatmail_turn_%s %d\n", name, kind, name, value)
	}
	plain("gauge", "allocations", uint64(live))
	plain("counter", "allocations_total", c.allocations.Load())
	plain("counter", "bindings_total", c.bindings.Load())
	plain("counter", "credentials_total", c.credentials.Load())
	plain("counter", "errors_limited_total", c.limited.Load())
	plain("counter", "permissions_refused_total", c.permissionsRefused.Load())
	for name, values := range map[string]*[2]atomic.Uint64{"packets": &c.packets, "bytes": &c.bytes} {
		fmt.Fprintf(out, "# TYPE chatmail_turn_relayed_%s_total counter\n", name)
		for way, label := range []string{"to_peer", "from_peer"} {
			fmt.Fprintf(out, "chatmail_turn_relayed_%s_total{direction=%q} %d\n",
				name, label, values[way].Load())
		}
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	keys := make([][2]string, 0, len(c.reasons))
	for key := range c.reasons {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	last := ""
	for _, key := range keys {
		if key[0] != last {
			fmt.Fprintf(out, "# TYPE chatmail_turn_%s counter\n", key[0])
			last = key[0]
		}
		fmt.Fprintf(out, "chatmail_turn_%s{reason=%q} %d\n", key[0], key[1], c.reasons[key])
	}
}

// serveMetrics answers HTTP on a unix socket until that is closed.
func (s *service) serveMetrics(at net.Listener) {
	server := &http.Server{
		ReadTimeout:  5 * time.Second,
		WriteTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
			answer.Header().Set("Content-Type", "text/plain; version=0.0.4")
			s.counters.write(answer, s.quotas.count())
		}),
	}
	_ = server.Serve(at)
}
