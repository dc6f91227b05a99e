package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ownAge is how old the list of this host's addresses may be when a client asks for a permission.
const ownAge = time.Second

// place is where relayed addresses of one family are: what clients are told, and what is bound.
// They differ behind a NAT.
type place struct {
	public, local netip.Addr
}

// machine knows the host's addresses and its live relayed ones; it is the policy's host.
type machine struct {
	own    atomic.Pointer[map[netip.Addr]bool]
	places atomic.Pointer[map[bool]place] // by whether it is IPv6

	lock  sync.RWMutex
	live  map[netip.AddrPort]bool // relayed addresses, as clients are told them
	read  time.Time               // when own was read
	extra []netip.Addr            // public addresses that no interface has

	interfaces func() ([]net.Addr, error)
	lookUp     func(ctx context.Context, network, name string) ([]netip.Addr, error)
	route      func(to netip.Addr) netip.Addr
}

func newMachine() *machine {
	resolver := &net.Resolver{PreferGo: true}
	m := &machine{
		live:       map[netip.AddrPort]bool{},
		interfaces: net.InterfaceAddrs,
		lookUp:     resolver.LookupNetIP,
		route:      routeTo,
	}
	m.own.Store(&map[netip.Addr]bool{})
	m.places.Store(&map[bool]place{})
	return m
}

func (m *machine) owns(addr netip.Addr) bool {
	return (*m.own.Load())[addr]
}

func (m *machine) relays(peer netip.AddrPort) bool {
	m.lock.RLock()
	defer m.lock.RUnlock()
	return m.live[peer]
}

// claim makes peer a live relayed address; false when it is one already.
func (m *machine) claim(peer netip.AddrPort) bool {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.live[peer] {
		return false
	}
	m.live[peer] = true
	return true
}

func (m *machine) release(peer netip.AddrPort) {
	m.lock.Lock()
	defer m.lock.Unlock()
	delete(m.live, peer)
}

// place says where an allocation of a family goes; false where this host has none.
func (m *machine) place(ipv6 bool) (place, bool) {
	found, known := (*m.places.Load())[ipv6]
	return found, known
}

// freshen reads the host's addresses anew when the list is older than ownAge.
func (m *machine) freshen(now time.Time) {
	m.lock.RLock()
	recent := now.Sub(m.read) < ownAge
	m.lock.RUnlock()
	if !recent {
		m.refresh(now)
	}
}

// refresh reads the host's addresses and returns those that clients may send to.
func (m *machine) refresh(now time.Time) []netip.Addr {
	own := map[netip.Addr]bool{}
	var reachable []netip.Addr
	found, err := m.interfaces()
	for _, item := range found {
		network, ok := item.(*net.IPNet)
		if !ok {
			continue
		}
		addr, _ := netip.AddrFromSlice(network.IP)
		addr = addr.Unmap()
		own[addr] = true
		if addr.IsValid() && !addr.IsLinkLocalUnicast() && !addr.IsMulticast() {
			reachable = append(reachable, addr)
		}
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	if err != nil {
		return nil
	}
	for _, addr := range m.extra {
		own[addr] = true
	}
	m.own.Store(&own)
	m.read = now
	return reachable
}

var errNoAddress = errors.New("no public address")

// settle finds the public addresses: those given, else the realm's in DNS. Where DNS is silent what
// it said before stays; that, or nothing found at all, is an error.
func (m *machine) settle(ctx context.Context, given []netip.Addr, realm string) error {
	interfaces, err := m.interfaces()
	if err != nil {
		return err
	}
	places, extra := map[bool]place{}, []netip.Addr{}
	for _, ipv6 := range []bool{false, true} {
		found, silent := given, error(nil)
		if len(given) == 0 {
			found, silent = m.ask(ctx, realm, ipv6)
		}
		extra = append(extra, found...)
		chosen, ok := m.choose(found, interfaces, ipv6)
		if silent != nil {
			chosen, ok = m.place(ipv6)
			extra = append(extra, chosen.public)
			err = silent
		}
		if ok {
			places[ipv6] = chosen
		}
	}
	m.places.Store(&places)
	m.lock.Lock()
	m.extra = extra
	m.lock.Unlock()
	m.refresh(time.Now())
	if err == nil && len(places) == 0 {
		return errNoAddress
	}
	return err
}

// ask says which addresses of a family a name has; none when DNS says that there are none.
func (m *machine) ask(ctx context.Context, realm string, ipv6 bool) ([]netip.Addr, error) {
	if literal, err := netip.ParseAddr(realm); err == nil {
		return []netip.Addr{literal}, nil
	}
	network := "ip4"
	if ipv6 {
		network = "ip6"
	}
	found, err := m.lookUp(ctx, network, realm+".")
	var told *net.DNSError
	if errors.As(err, &told) && told.IsNotFound {
		return nil, nil
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return slices.DeleteFunc(found, netip.Addr.IsLoopback), err
}

// choose takes the public address that an interface has, else the first and what the host sends
// from: then there is a NAT in between.
func (m *machine) choose(candidates []netip.Addr, found []net.Addr, ipv6 bool) (place, bool) {
	var translated place
	for _, public := range candidates {
		if public.Is6() != ipv6 {
			continue
		}
		if slices.ContainsFunc(found, func(item net.Addr) bool {
			network, ok := item.(*net.IPNet)
			return ok && network.IP.Equal(net.IP(public.AsSlice()))
		}) {
			return place{public, public}, true
		}
		if local := m.route(public); !translated.public.IsValid() && local.IsValid() {
			translated = place{public, local}
		}
	}
	return translated, translated.public.IsValid()
}

// routeTo is the address that packets to another have as their source; no packet is sent for it.
func routeTo(to netip.Addr) netip.Addr {
	probe, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer probe.Close()
	return probe.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}
