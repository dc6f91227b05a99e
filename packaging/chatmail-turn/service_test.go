package main

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/turn/v5"
)

// serving is a service on loopback, whose relayed addresses are there too.
func serving(t *testing.T, changes ...string) (*service, string) {
	t.Helper()
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	text := strings.NewReplacer(append([]string{"192.0.2.1 2001:db8::1", "127.0.0.1"}, changes...)...).
		Replace(someConfig)
	write(t, at("turn.conf"), text)
	write(t, at("secret"), strings.Repeat("s", secretBytes))
	s, err := newService(paths{config: at("turn.conf"), secret: at("secret"), state: at("seconds")}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.machine.interfaces = func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)}}, nil
	}
	if err := s.scan(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.closeListeners)
	return s, s.listeners[netip.MustParseAddr("127.0.0.1")].LocalAddr().String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func clientOf(t *testing.T, server, username, password string) *turn.Client {
	t.Helper()
	local, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	made, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server, TURNServerAddr: server, Conn: local,
		Username: username, Password: password, Realm: "chat.example",
		LoggerFactory: silence{}, RTO: 100 * time.Millisecond,
	})
	if err == nil {
		err = made.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.Close(); _ = local.Close() })
	return made
}

func fresh(t *testing.T, s *service) (string, string) {
	t.Helper()
	username, word, found := strings.Cut(s.credential(time.Now().Unix()), ":")
	if !found {
		t.Fatal("no credential")
	}
	return username, word
}

func expect(t *testing.T, what string, err error, code string) {
	t.Helper()
	if code == "" && err != nil || code != "" && (err == nil || !strings.Contains(err.Error(), code)) {
		t.Errorf("%s: %v, not %q", what, err, code)
	}
}

// Credentials that were handed out allocate; a wrong password, one that is expired or too far ahead,
// and one above its quota do not, each with its error.
func TestAllocations(t *testing.T) {
	s, server := serving(t, "per_credential = 20", "per_credential = 2")
	username, word := fresh(t, s)
	for try, code := range []string{"", "", "486"} {
		relayed, err := clientOf(t, server, username, word).Allocate()
		expect(t, "allocation", err, code)
		if err == nil && !s.machine.relays(relayed.LocalAddr().(*net.UDPAddr).AddrPort()) {
			t.Errorf("allocation %d is not known as one", try)
		}
	}
	secret := *s.secret.Load()
	for what, name := range map[string]string{"expired": "1000000000", "far future": "4000000000", "a name": "alice"} {
		_, err := clientOf(t, server, name, password(secret, name)).Allocate()
		expect(t, what, err, "401")
	}
	_, err := clientOf(t, server, username, "wrong").Allocate()
	expect(t, "wrong password", err, "401")
	other, word := fresh(t, s)
	_, err = clientOf(t, server, other, word).Allocate()
	expect(t, "another credential", err, "")
	if s.quotas.count() != 3 {
		t.Errorf("%d allocations are counted", s.quotas.count())
	}
}

// An allocation that ends gives back its place and its port.
func TestAllocationEnds(t *testing.T) {
	s, server := serving(t)
	username, word := fresh(t, s)
	relayed, err := clientOf(t, server, username, word).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	_ = relayed.Close()
	for range 100 {
		if s.quotas.count() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s.quotas.count() != 0 || len(s.machine.live) != 0 {
		t.Error("something is left of it")
	}
}

// With the settings read again calls go on, and what is new counts; faulty ones change nothing.
func TestReload(t *testing.T) {
	s, server := serving(t)
	username, word := fresh(t, s)
	if _, err := clientOf(t, server, username, word).Allocate(); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(s.paths.config)
	write(t, s.paths.config, strings.Replace(string(text), "_credential = 20", "_credential = 1", 1))
	if err := s.reload(); err != nil {
		t.Fatal(err)
	}
	_, err := clientOf(t, server, username, word).Allocate()
	expect(t, "after the change", err, "486")
	write(t, s.paths.config, "nonsense")
	if s.reload() == nil || s.config.Load().perCredential != 1 || s.quotas.count() != 1 {
		t.Error("faulty settings changed something")
	}
}

// A client of the socket gets one credential for each line, all different, each of which works.
func TestCredentialsSocket(t *testing.T) {
	s, _ := serving(t)
	at, err := listenUnix(filepath.Join(t.TempDir(), "credentials.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	go s.serveCredentials(at)
	client, err := net.Dial("unix", at.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answers, seen := bufio.NewScanner(client), map[string]bool{}
	for range 20 {
		_, _ = client.Write([]byte("credential\n"))
		if !answers.Scan() || seen[answers.Text()] {
			t.Fatal("no answer, or one there was before")
		}
		seen[answers.Text()] = true
		username, word, _ := strings.Cut(answers.Text(), ":")
		if word != password(*s.secret.Load(), username) || credentialFault(username, time.Now().Unix()) != "" {
			t.Errorf("%s", answers.Text())
		}
	}
	_, _ = client.Write([]byte("anything\n"))
	if !answers.Scan() || answers.Text() != "error" {
		t.Error("an unknown request")
	}
}

// The counters are in Prometheus's format, and hold nobody's address.
func TestCounters(t *testing.T) {
	s, server := serving(t)
	username, word := fresh(t, s)
	if _, err := clientOf(t, server, username, word).Allocate(); err != nil {
		t.Fatal(err)
	}
	_, _ = clientOf(t, server, username, "wrong").Allocate()
	var out strings.Builder
	s.counters.write(&out, s.quotas.count())
	for _, line := range []string{
		"chatmail_turn_allocations 1\n",
		"# TYPE chatmail_turn_allocations_total counter\n",
		`chatmail_turn_authentication_failures_total{reason="password"} 1` + "\n",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing in:\n%s", line, out.String())
		}
	}
	if strings.Contains(out.String(), "127.0") || strings.Contains(out.String(), username) {
		t.Error("somebody can be told from it")
	}
}
