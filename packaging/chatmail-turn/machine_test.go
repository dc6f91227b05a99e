package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func machineWith(dns []string, interfaces ...string) *machine {
	m := newMachine()
	m.interfaces = func() ([]net.Addr, error) {
		var found []net.Addr
		for _, text := range interfaces {
			ip, network, _ := net.ParseCIDR(text)
			found = append(found, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		return found, nil
	}
	m.lookUp = func(_ context.Context, network, _ string) ([]netip.Addr, error) {
		if dns == nil {
			return nil, errors.New("no answer")
		}
		var found []netip.Addr
		for _, text := range dns {
			if addr := netip.MustParseAddr(text); addr.Unmap().Is6() == (network == "ip6") {
				found = append(found, addr)
			}
		}
		if len(found) == 0 {
			return nil, &net.DNSError{IsNotFound: true}
		}
		return found, nil
	}
	m.route = func(to netip.Addr) netip.Addr {
		if to.Is6() {
			return netip.Addr{}
		}
		return netip.MustParseAddr("10.0.0.5")
	}
	return m
}

// The public address is what is set or what DNS says; where no interface has it there is a NAT.
func TestPublicAddresses(t *testing.T) {
	for _, c := range []struct {
		dns           []string
		given, realm  string
		public, local string
	}{
		{[]string{"8.8.4.4"}, "", "chat.example", "8.8.4.4", "8.8.4.4"},
		{[]string{"1.1.1.1", "8.8.4.4"}, "", "chat.example", "8.8.4.4", "8.8.4.4"},
		{[]string{"1.1.1.1"}, "", "chat.example", "1.1.1.1", "10.0.0.5"},
		{[]string{"::ffff:1.1.1.1"}, "", "chat.example", "1.1.1.1", "10.0.0.5"},
		{[]string{"8.8.4.4"}, "9.9.9.9", "chat.example", "9.9.9.9", "10.0.0.5"},
		{[]string{"127.0.1.1"}, "", "chat.example", "", ""},
		{nil, "", "9.9.9.9", "9.9.9.9", "10.0.0.5"},
	} {
		m := machineWith(c.dns, "127.0.0.1/8", "10.0.0.5/24", "8.8.4.4/24")
		var given []netip.Addr
		if c.given != "" {
			given = []netip.Addr{netip.MustParseAddr(c.given)}
		}
		if err := m.settle(context.Background(), given, c.realm); (err == nil) != (c.public != "") {
			t.Errorf("%v: %v", c, err)
		}
		found, known := m.place(false)
		if known != (c.public != "") || known && found != (place{netip.MustParseAddr(c.public), netip.MustParseAddr(c.local)}) {
			t.Errorf("%v: %v", c, found)
		}
		if known && !(m.owns(found.public) && m.owns(found.local) && m.owns(netip.MustParseAddr("127.0.0.1"))) {
			t.Errorf("%v: not all are known as this host's", c)
		}
	}
}

// As long as something is not known the next look is soon, then later and later.
func TestPause(t *testing.T) {
	wait := time.Duration(0)
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		if wait = pause(wait, false); wait != want*time.Second {
			t.Errorf("%s, not %d s", wait, want)
		}
	}
	if pause(retry, true) != rescan {
		t.Error("with all known")
	}
}

// When DNS says nothing of one family, the other is found, and what was known of the first stays.
func TestHalfAnAnswer(t *testing.T) {
	m := machineWith([]string{"8.8.4.4", "2001:db8::5"}, "8.8.4.4/24", "2001:db8::5/64")
	whole := m.lookUp
	half := func(ctx context.Context, network, name string) ([]netip.Addr, error) {
		if network == "ip4" {
			return nil, errors.New("no answer")
		}
		return whole(ctx, network, name)
	}
	for i, lookUp := range []func(context.Context, string, string) ([]netip.Addr, error){half, whole, half} {
		m.lookUp = lookUp
		err := m.settle(context.Background(), nil, "chat.example")
		_, four := m.place(false)
		_, six := m.place(true)
		if (err == nil) != (i == 1) || four != (i > 0) || !six {
			t.Errorf("step %d: %v, %t, %t", i, err, four, six)
		}
		if four && !m.owns(netip.MustParseAddr("8.8.4.4")) {
			t.Error("an address is not known as this host's")
		}
	}
}

// Without an answer from DNS what was known stays.
func TestDNSIsSilent(t *testing.T) {
	m := machineWith([]string{"8.8.4.4"}, "8.8.4.4/24")
	if err := m.settle(context.Background(), nil, "chat.example"); err != nil {
		t.Fatal(err)
	}
	m.lookUp = machineWith(nil).lookUp
	if err := m.settle(context.Background(), nil, "chat.example"); err == nil {
		t.Error("nothing was said")
	}
	if _, known := m.place(false); !known {
		t.Error("the address is gone")
	}
}

// Clients may send to every address but those of one link; all of them are the host's own.
func TestReachableAddresses(t *testing.T) {
	m := machineWith(nil, "127.0.0.1/8", "10.0.0.5/24", "fe80::1/64", "2001:db8::5/64")
	if got := m.refresh(time.Now()); len(got) != 3 {
		t.Errorf("%v", got)
	}
	if !m.owns(netip.MustParseAddr("fe80::1")) {
		t.Error("the link-local one is not known")
	}
}

// A relayed address is one allocation's.
func TestClaims(t *testing.T) {
	m, one := newMachine(), netip.MustParseAddrPort("192.0.2.1:50000")
	if !m.claim(one) || m.claim(one) || !m.relays(one) {
		t.Error("it was claimed twice")
	}
	m.release(one)
	if m.relays(one) || !m.claim(one) {
		t.Error("it was not released")
	}
}
