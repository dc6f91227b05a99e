package main

import (
	"net"
	"net/netip"
	"testing"
)

// fakeHost is a host with some addresses and relayed addresses.
type fakeHost struct {
	own  map[netip.Addr]bool
	live map[netip.AddrPort]bool
}

func (h fakeHost) owns(addr netip.Addr) bool       { return h.own[addr] }
func (h fakeHost) relays(peer netip.AddrPort) bool { return h.live[peer] }

func someHost() fakeHost {
	return fakeHost{
		own: map[netip.Addr]bool{
			netip.MustParseAddr("8.8.4.4"):              true,
			netip.MustParseAddr("10.1.2.3"):             true,
			netip.MustParseAddr("127.0.0.1"):            true,
			netip.MustParseAddr("2001:4860:4860::8844"): true,
		},
		live: map[netip.AddrPort]bool{
			netip.MustParseAddrPort("8.8.4.4:50000"):                true,
			netip.MustParseAddrPort("[2001:4860:4860::8844]:50000"): true,
			netip.MustParseAddrPort("127.0.0.1:50000"):              true,
		},
	}
}

// Each kind of peer is judged as it has to be, first and last addresses of the ranges included.
func TestPolicy(t *testing.T) {
	cases := []struct {
		peer    string
		allowed string
		want    verdict
	}{
		{"1.1.1.1:53", "", passed},
		{"9.255.255.255:1", "", passed},
		{"[2606:4700:4700::1111]:443", "", passed},
		{"[2a00::1]:443", "", passed},
		{"1.1.1.1:0", "", refusedRange},
		{"0.0.0.0:9", "", refusedRange},
		{"0.1.2.3:9", "", refusedRange},
		{"10.0.0.0:9", "", refusedRange},
		{"10.255.255.255:9", "", refusedRange},
		{"11.0.0.0:9", "", passed},
		{"100.63.255.255:9", "", passed},
		{"100.64.0.1:9", "", refusedRange},
		{"100.127.255.255:9", "", refusedRange},
		{"100.128.0.0:9", "", passed},
		{"127.0.0.1:9", "", refusedRange},
		{"127.0.0.1:50000", "", refusedRange},
		{"127.0.0.53:53", "", refusedRange},
		{"127.255.255.255:9", "", refusedRange},
		{"169.254.169.254:80", "", refusedRange},
		{"172.15.255.255:9", "", passed},
		{"172.16.0.1:9", "", refusedRange},
		{"172.31.255.255:9", "", refusedRange},
		{"172.32.0.0:9", "", passed},
		{"192.0.0.1:9", "", refusedRange},
		{"192.0.2.1:9", "", refusedRange},
		{"192.88.99.1:9", "", refusedRange},
		{"192.168.0.1:9", "", refusedRange},
		{"192.169.0.0:9", "", passed},
		{"198.18.0.1:9", "", refusedRange},
		{"198.19.255.255:9", "", refusedRange},
		{"198.51.100.1:9", "", refusedRange},
		{"203.0.113.1:9", "", refusedRange},
		{"223.255.255.255:9", "", passed},
		{"224.0.0.1:9", "", refusedRange},
		{"239.255.255.255:9", "", refusedRange},
		{"240.0.0.1:9", "", refusedRange},
		{"255.255.255.255:9", "", refusedRange},
		{"[::]:9", "", refusedRange},
		{"[::1]:9", "", refusedRange},
		{"[::1.1.1.1]:9", "", refusedRange},
		{"[::ffff:127.0.0.1]:9", "", refusedRange},
		{"[::ffff:10.0.0.1]:9", "", refusedRange},
		{"[::ffff:1.1.1.1]:9", "", refusedRange},
		{"[::ffff:8.8.4.4]:50000", "", refusedRange},
		{"[64:ff9b::a00:1]:9", "", refusedRange},
		{"[64:ff9b::101:101]:9", "", refusedRange},
		{"[64:ff9b:1::1]:9", "", refusedRange},
		{"[100::1]:9", "", refusedRange},
		{"[1fff::1]:9", "", refusedRange},
		{"[2001::1]:9", "", refusedRange},
		{"[2001:2::1]:9", "", refusedRange},
		{"[2001:10::1]:9", "", refusedRange},
		{"[2001:1ff:ffff::1]:9", "", refusedRange},
		{"[2001:200::1]:9", "", passed},
		{"[2001:db8::1]:9", "", refusedRange},
		{"[2002:a00:1::1]:9", "", refusedRange},
		{"[2003::1]:9", "", passed},
		{"[3fff::1]:9", "", refusedRange},
		{"[4000::1]:9", "", refusedRange},
		{"[5f00::1]:9", "", refusedRange},
		{"[fc00::1]:9", "", refusedRange},
		{"[fd12::1]:9", "", refusedRange},
		{"[fe80::1]:9", "", refusedRange},
		{"[fe80::1%eth0]:9", "", refusedRange},
		{"[fec0::1]:9", "", refusedRange},
		{"[ff02::1]:9", "", refusedRange},
		// This host: only what it relays.
		{"8.8.4.4:53", "", refusedService},
		{"8.8.4.4:3478", "", refusedService},
		{"8.8.4.4:50000", "", passed},
		{"10.1.2.3:50000", "", refusedService},
		{"[2001:4860:4860::8844]:53", "", refusedService},
		{"[2001:4860:4860::8844]:50000", "", passed},
		// What an operator allows, but for what reaches this machine.
		{"10.9.9.9:9", "10.0.0.0/8", passed},
		{"192.168.1.1:9", "10.0.0.0/8", refusedRange},
		{"10.1.2.3:25", "10.0.0.0/8", refusedService},
		{"8.8.4.4:25", "0.0.0.0/0", refusedService},
		{"127.0.0.1:25", "0.0.0.0/0", refusedRange},
		{"127.9.9.9:25", "127.0.0.0/8", refusedRange},
		{"169.254.169.254:80", "169.254.0.0/16", refusedRange},
		{"255.255.255.255:9", "0.0.0.0/0", refusedRange},
		{"[::1]:25", "::/0", refusedRange},
		{"[fd12::1]:9", "fd00::/8", passed},
		{"[fe80::1]:9", "fe80::/10", refusedRange},
		{"[::ffff:10.9.9.9]:9", "::/0", refusedRange},
	}
	for _, c := range cases {
		var allowed []netip.Prefix
		if c.allowed != "" {
			allowed = prefixes(c.allowed)
		}
		if got := judge(netip.MustParseAddrPort(c.peer), someHost(), allowed); got != c.want {
			t.Errorf("%s with %q allowed: %d, not %d", c.peer, c.allowed, got, c.want)
		}
	}
}

// Nothing that Go's own judgement takes for other than the public internet passes, in any spelling,
// and of this host only relayed addresses.
func FuzzPolicy(f *testing.F) {
	for _, text := range []string{"1.1.1.1", "127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1"} {
		f.Add(netip.MustParseAddr(text).AsSlice(), uint16(53))
	}
	f.Add([]byte{8, 8, 4, 4}, uint16(50000))
	f.Add([]byte{1, 2, 3}, uint16(1))
	f.Fuzz(func(t *testing.T, raw []byte, port uint16) {
		addr, _ := netip.AddrFromSlice(raw)
		peer := netip.AddrPortFrom(addr, port)
		machine := someHost()
		if judge(peer, machine, nil) != passed {
			return
		}
		if judgeAddress(addr, machine, nil) != passed {
			t.Errorf("%s passes, and its address does not", peer)
		}
		ip := net.IP(raw)
		if !ip.IsGlobalUnicast() || ip.IsPrivate() || len(raw) == 16 && ip.To4() != nil {
			t.Errorf("%s passes", peer)
		}
		if machine.owns(addr.Unmap()) && !machine.relays(peer) {
			t.Errorf("%s passes, and is a service of this host", peer)
		}
	})
}
