package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// rescan is how often the host's addresses and its public ones are looked for.
	rescan = 30 * time.Second
	// retry is the same at first as long as these are not known, as when the network is coming up.
	retry = time.Second
	// lookUpTime is how long DNS may take; signals wait for it.
	lookUpTime = 5 * time.Second
	// idleClient is how long a client of the credentials' socket may be silent.
	idleClient = time.Hour
)

// service is all that runs: listeners, allocations, and the socket for credentials.
type service struct {
	port     uint16
	paths    paths
	config   atomic.Pointer[config]
	secret   atomic.Pointer[[]byte]
	machine  *machine
	quotas   *quotas
	counters *counters
	limiter  *limiter
	seconds  *seconds

	lock      sync.Mutex
	listeners map[netip.Addr]*listener
	said      string        // of whether calls can be relayed
	wait      time.Duration // until the next scan
}

// paths are where things are read and offered.
type paths struct {
	config, secret, state, credentials, metrics string
}

func newService(where paths, port uint16) (*service, error) {
	s := &service{
		port: port, paths: where, machine: newMachine(), quotas: newQuotas(),
		counters: newCounters(), limiter: newLimiter(), listeners: map[netip.Addr]*listener{},
	}
	if err := s.read(); err != nil {
		return nil, err
	}
	opened, err := openSeconds(where.state, time.Now().Unix())
	if err != nil {
		return nil, fmt.Errorf("%s: %s", where.state, reason(err))
	}
	s.seconds = opened
	return s, nil
}

// read takes settings and secret from their files; nothing changes when either is at fault.
func (s *service) read() error {
	settings, err := readConfig(s.paths.config)
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(s.paths.secret)
	if err != nil {
		return problem{file: s.paths.secret, allowed: "cannot be read: " + reason(err)}
	}
	if secret = bytes.TrimSpace(secret); len(secret) < secretBytes {
		return problem{file: s.paths.secret,
			allowed: fmt.Sprintf("has %d bytes, and %d are needed", len(secret), secretBytes)}
	}
	s.config.Store(&settings)
	s.secret.Store(&secret)
	return nil
}

// reload reads settings and secret again. Calls go on; the realm is told by listeners made anew.
func (s *service) reload() error {
	realm := s.config.Load().realm
	if err := s.read(); err != nil {
		return err
	}
	if s.config.Load().realm != realm {
		s.closeListeners()
	}
	return s.scan()
}

// scan opens listeners where there are none yet, and looks for the public addresses.
func (s *service) scan() error {
	addresses := s.machine.refresh(time.Now())
	err := s.listenAt(addresses)
	settings := s.config.Load()
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTime)
	defer cancel()
	silent := s.machine.settle(ctx, settings.publicAddresses, settings.realm)
	s.wait = pause(s.wait, silent == nil)
	s.tell()
	return err
}

// pause is how long to wait before the next scan, after a wait before: longer and longer as long as
// something could not be found out, up to rescan.
func pause(before time.Duration, known bool) time.Duration {
	if known {
		return rescan
	}
	return min(max(2*before, retry), rescan)
}

// tell logs, once for each change, whether calls can be relayed.
func (s *service) tell() {
	_, four := s.machine.place(false)
	_, six := s.machine.place(true)
	said := fmt.Sprintf("calls are relayed (IPv4: %t, IPv6: %t)", four, six)
	if !four && !six {
		said = "no public address of this server is known, so calls cannot be relayed yet: its name " +
			"has to be in DNS, or turn_public_addresses set"
	}
	if said != s.said {
		log.Print(said)
		s.said = said
	}
}

// listenAt makes the listeners those of the given addresses. It fails when there is none.
func (s *service) listenAt(addresses []netip.Addr) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	present := map[netip.Addr]bool{}
	var last error
	for _, addr := range addresses {
		present[addr] = true
		if s.listeners[addr] != nil {
			continue
		}
		made, err := s.listen(addr)
		if err != nil {
			last = err // IPv6 may still be looking whether somebody else has it
			continue
		}
		s.listeners[addr] = made
	}
	for addr, gone := range s.listeners {
		if len(addresses) > 0 && !present[addr] {
			_ = gone.Close()
			delete(s.listeners, addr)
		}
	}
	if len(s.listeners) == 0 && last != nil {
		return fmt.Errorf("UDP port %d: %s", s.port, reason(last))
	}
	return nil
}

func (s *service) closeListeners() {
	s.lock.Lock()
	defer s.lock.Unlock()
	for addr, one := range s.listeners {
		_ = one.Close()
		delete(s.listeners, addr)
	}
}

// serveCredentials answers each line `credential` on a unix socket by `EXPIRY:PASSWORD`.
func (s *service) serveCredentials(at net.Listener) {
	for {
		client, err := at.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Second) // out of descriptors
			continue
		}
		go s.answer(client)
	}
}

func (s *service) answer(client net.Conn) {
	defer client.Close()
	lines := bufio.NewScanner(client)
	for {
		_ = client.SetDeadline(time.Now().Add(idleClient))
		if !lines.Scan() {
			return
		}
		said := "error"
		if lines.Text() == "credential" {
			said = s.credential(time.Now().Unix())
		}
		if _, err := client.Write([]byte(said + "\n")); err != nil {
			return
		}
	}
}

func (s *service) credential(now int64) string {
	expiry, err := s.seconds.next(now)
	if err != nil {
		return "later"
	}
	s.counters.credentials.Add(1)
	username := strconv.FormatInt(expiry, 10)
	return username + ":" + password(*s.secret.Load(), username)
}
