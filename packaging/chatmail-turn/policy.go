package main

import (
	"net/netip"
)

// verdict is what the policy says of a peer. Its zero value refuses.
type verdict int

const (
	refusedRange   verdict = iota // an address that nobody may be reached at through a relay
	refusedService                // this host, and not one of its relay ports
	passed                        // a packet may go there
)

// host is what the policy has to know of the machine it runs on.
type host interface {
	// owns says whether addr is one of this host's, its public ones behind a NAT included.
	owns(addr netip.Addr) bool
	// relays says whether peer is the relayed address of a live allocation.
	relays(peer netip.AddrPort) bool
}

func prefixes(texts ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		parsed[i] = netip.MustParsePrefix(text)
	}
	return parsed
}

// neverPeers stay refused when an operator allows a network that holds them: what is sent there
// reaches this machine, or every machine of a link.
var neverPeers = prefixes(
	"0.0.0.0/8",      // this network
	"127.0.0.0/8",    // loopback
	"169.254.0.0/16", // link-local, where clouds keep their metadata
	"224.0.0.0/3",    // multicast, reserved, broadcast
	"::/127",         // unspecified, loopback
	"fe80::/10",      // link-local
	"ff00::/8",       // multicast
)

// refusedPeers are what is not the public internet, by IANA's special-purpose registries (RFC 6890).
var refusedPeers = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // private
	"100.64.0.0/10",                                     // shared, behind carriers' NATs
	"192.0.0.0/24",                                      // protocol assignments
	"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // documentation
	"192.88.99.0/24", // 6to4 relays
	"198.18.0.0/15",  // benchmarks
	"2001::/23",      // protocol assignments: Teredo, ORCHID, benchmarks
	"2001:db8::/32",  // documentation
	"2002::/16",      // 6to4, which holds any IPv4 address
	"3fff::/20",      // documentation
)

// publicIPv6 is all that was given out so far: the rest, NAT64's 64:ff9b::/96 and unique local
// addresses among it, is refused.
var publicIPv6 = netip.MustParsePrefix("2000::/3")

// judge says whether a relay may exchange packets with peer.
func judge(peer netip.AddrPort, machine host, allowed []netip.Prefix) verdict {
	said := judgeAddress(peer.Addr(), machine, allowed)
	switch {
	case said != passed:
		return said
	case peer.Port() == 0:
		return refusedRange
	case machine.owns(peer.Addr()) && !machine.relays(peer):
		return refusedService
	}
	return passed
}

// judgeAddress says whether a client may ask for a permission, which is for all ports of an address.
// This host's own address passes here: two clients that are relayed here have to reach each other.
func judgeAddress(addr netip.Addr, machine host, allowed []netip.Prefix) verdict {
	switch {
	// An IPv4-mapped address is a second name for an address; a zone is for a link.
	case !addr.IsValid(), addr.Is4In6(), addr.Zone() != "", holds(neverPeers, addr):
		return refusedRange
	case machine.owns(addr), holds(allowed, addr):
		return passed
	case holds(refusedPeers, addr), addr.Is6() && !publicIPv6.Contains(addr):
		return refusedRange
	}
	return passed
}

func holds(networks []netip.Prefix, addr netip.Addr) bool {
	for _, network := range networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
