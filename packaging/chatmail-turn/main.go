// chatmail-turn lets calls through where two apps cannot reach each other: it tells them under which
// address they are seen (STUN, RFC 8489) and relays their packets (TURN, RFC 8656), over UDP.
//
// Apps show a credential that is valid for five days: its username is the Unix time at which it
// expires, its password an HMAC of that under this server's secret. chatmail-metadata gets them here
// over a unix socket and hands them to users who are logged in.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const usage = `usage: chatmail-turn [OPTION]…

Relays the packets of calls between chat apps (STUN and TURN over UDP).

`

func main() {
	log.SetFlags(0)
	where := paths{}
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.StringVar(&where.config, "config", "/etc/chatmail-relay/turn.conf", "settings `file`")
	flag.StringVar(&where.secret, "secret", "/var/lib/chatmail-relay/turn/secret", "secret's `file`")
	flag.StringVar(&where.state, "state", "/var/lib/chatmail-turn/seconds",
		"`file` that remembers which credentials were handed out")
	flag.StringVar(&where.credentials, "credentials", "/run/chatmail/turn/credentials.sock",
		"`socket` on which credentials are handed out")
	flag.StringVar(&where.metrics, "metrics", "/run/chatmail/turn-metrics/metrics.sock",
		"`socket` on which Prometheus's counters are told over HTTP")
	port := flag.Uint("port", 3478, "UDP `port`")
	check := flag.Bool("check", false, "only check the settings file")
	if help := len(os.Args) == 2 && (os.Args[1] == "--help" || os.Args[1] == "-h"); help {
		flag.CommandLine.SetOutput(os.Stdout)
	}
	flag.Parse()
	if *port == 0 || *port > 65535 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := start(where, uint16(*port), *check); err != nil {
		log.Fatalf("chatmail-turn: %v", err)
	}
}

func start(where paths, port uint16, check bool) error {
	if check {
		_, err := readConfig(where.config)
		return err
	}
	s, err := newService(where, port)
	if err != nil {
		return err
	}
	return s.run()
}

// run serves until SIGTERM or SIGINT; SIGHUP reads the settings again.
func (s *service) run() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	credentials, err := listenUnix(s.paths.credentials)
	if err != nil {
		return err
	}
	metrics, err := listenUnix(s.paths.metrics)
	if err != nil {
		return errors.Join(err, credentials.Close())
	}
	go s.serveCredentials(credentials)
	go s.serveMetrics(metrics)
	if err := s.scan(); err != nil {
		return err
	}
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	for {
		select {
		case <-time.After(s.wait):
			if err := s.scan(); err != nil {
				log.Printf("chatmail-turn: %v", err)
			}
		case got := <-signals:
			if got == syscall.SIGHUP {
				s.hangUp()
				continue
			}
			_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
			s.closeListeners()
			return errors.Join(credentials.Close(), metrics.Close(), s.seconds.close())
		}
	}
}

// hangUp reloads; settings at fault leave those before in force.
func (s *service) hangUp() {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReloading)
	if err := s.reload(); err != nil {
		log.Printf("chatmail-turn: the settings stay as they were: %v", err)
	}
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
}

// listenUnix listens in place of a daemon before; its folder says who may connect.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %s", path, reason(err))
	}
	made, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o660)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, reason(err))
	}
	return made, nil
}
