package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/pion/turn/v5"
	"golang.org/x/time/rate"
)

var (
	errNoFamily = errors.New("no public address of this family")
	errNoPort   = errors.New("no free port")
	errUDPOnly  = errors.New("only UDP is relayed")
)

// relayConn is the relayed address of one allocation: a socket that exchanges packets with those
// peers only which the policy lets pass, and no more of them than the bandwidth allows.
type relayConn struct {
	*net.UDPConn
	service  *service
	who      owner
	at       place
	port     uint16
	out, in  *rate.Limiter
	released sync.Once
}

// ReadFrom is the next packet from a peer that may send.
func (c *relayConn) ReadFrom(buffer []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return 0, nil, err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if from.Addr() == c.at.local {
			from = netip.AddrPortFrom(c.at.public, from.Port()) // another allocation, behind our NAT
		}
		if c.passes(from) && c.fits(c.in, n) {
			c.service.counters.relayed(fromPeer, n)
			return n, net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// WriteTo sends to a peer, unless it may not be sent to: then the packet is lost, as packets are.
func (c *relayConn) WriteTo(packet []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, errUDPOnly
	}
	peer := udp.AddrPort()
	if !c.passes(peer) || !c.fits(c.out, len(packet)) {
		return len(packet), nil
	}
	if peer.Addr() == c.at.public {
		peer = netip.AddrPortFrom(c.at.local, peer.Port()) // a NAT may not lead back inside
	}
	if _, err := c.WriteToUDPAddrPort(packet, peer); err != nil {
		c.service.counters.dropped("unreachable")
		return len(packet), nil
	}
	c.service.counters.relayed(toPeer, len(packet))
	return len(packet), nil
}

// Close gives the port and the place in the quotas back.
func (c *relayConn) Close() error {
	err := c.UDPConn.Close()
	c.released.Do(func() {
		c.service.machine.release(netip.AddrPortFrom(c.at.public, c.port))
		if c.who.credential != "" {
			c.service.quotas.give(c.who)
		}
	})
	return err
}

func (c *relayConn) passes(peer netip.AddrPort) bool {
	switch judge(peer, c.service.machine, c.service.config.Load().allowedPeers) {
	case passed:
		return true
	case refusedService:
		c.service.counters.dropped("own_service")
	default:
		c.service.counters.dropped("refused_range")
	}
	return false
}

func (c *relayConn) fits(limiter *rate.Limiter, size int) bool {
	if limiter.AllowN(time.Now(), size) {
		return true
	}
	c.service.counters.dropped("bandwidth")
	return false
}

// Validate is part of the TURN library's RelayAddressGenerator.
func (s *service) Validate() error { return nil }

// AllocatePacketConn makes the relayed address of an allocation. The library asks without an owner
// when it only looks for an even port.
func (s *service) AllocatePacketConn(asked turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	settings := s.config.Load()
	at, known := s.machine.place(asked.Network == "udp6")
	if !known {
		s.counters.refused("family")
		return nil, nil, errNoFamily
	}
	who := parseOwner(asked.UserID)
	if who.credential != "" {
		if err := s.quotas.take(who, *settings); err != nil {
			s.counters.refused(err.Error())
			return nil, nil, err
		}
	}
	bound, port := s.bind(asked.Network, at, settings, asked.RequestedPort)
	if bound == nil {
		if who.credential != "" {
			s.quotas.give(who)
		}
		s.counters.refused("port")
		return nil, nil, errNoPort
	}
	bytes := rate.Limit(settings.bandwidth * 1000 / 8)
	burst := max(settings.bandwidth*1000/8, 64*1024) // a second's worth, or a packet of any size
	made := &relayConn{
		UDPConn: bound, service: s, who: who, at: at, port: port,
		out: rate.NewLimiter(bytes, burst), in: rate.NewLimiter(bytes, burst),
	}
	return made, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.public, port)), nil
}

// bind takes the wanted port, else the first free one from a random one on.
func (s *service) bind(network string, at place, settings *config, wanted int) (*net.UDPConn, uint16) {
	first, count := int(settings.minPort), int(settings.maxPort)-int(settings.minPort)+1
	start := rand.IntN(count)
	if wanted != 0 {
		if wanted < first || wanted >= first+count {
			return nil, 0
		}
		start, count = wanted-first, 1
	}
	size := int(settings.maxPort) - first + 1
	for i := range count {
		port := uint16(first + (start+i)%size)
		public := netip.AddrPortFrom(at.public, port)
		if !s.machine.claim(public) {
			continue
		}
		if bound, err := listenUDP(network, netip.AddrPortFrom(at.local, port)); err == nil {
			return bound, port
		}
		s.machine.release(public)
	}
	return nil, 0
}

// AllocateListener refuses: calls use UDP.
func (s *service) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errUDPOnly
}

// AllocateConn refuses: calls use UDP.
func (s *service) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) {
	return nil, errUDPOnly
}

// listenUDP binds a socket which the kernel does not let send to a link's broadcast address.
func listenUDP(network string, at netip.AddrPort) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_BROADCAST, 0)
		})
		return errors.Join(err, failed)
	}}
	bound, err := lc.ListenPacket(context.Background(), network, at.String())
	if err != nil {
		return nil, err
	}
	return bound.(*net.UDPConn), nil
}
