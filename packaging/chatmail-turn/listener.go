package main

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// listener is the socket at one of the host's addresses, with a TURN server of its own on it. One
// for each address, so that answers come from the address that was asked.
type listener struct {
	*net.UDPConn
	service *service
	key     []byte // of the request under way: the server's read loop is the only one to use it
	answer  [64]byte
}

// listen opens a listener at an address and serves it until it is closed.
func (s *service) listen(addr netip.Addr) (*listener, error) {
	bound, err := listenUDP("udp", netip.AddrPortFrom(addr, s.port))
	if err != nil {
		return nil, err
	}
	_ = bound.SetReadBuffer(1 << 20) // as much as the kernel grants
	made := &listener{UDPConn: bound, service: s}
	_, err = turn.NewServer(turn.ServerConfig{
		Realm:         s.config.Load().realm,
		AuthHandler:   made.authenticate,
		QuotaHandler:  s.admits,
		EventHandler:  s.events(),
		LoggerFactory: silence{},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn: made, RelayAddressGenerator: s, PermissionHandler: s.permits,
		}},
	})
	if err != nil {
		return nil, errors.Join(err, bound.Close())
	}
	return made, nil
}

// ReadFrom is the next message for the TURN server. Bare binding requests are answered here: the
// library's answer has a fingerprint more than it needs.
func (l *listener) ReadFrom(buffer []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return 0, nil, err
		}
		if err != nil {
			continue // of one packet, or for a moment; the socket goes on
		}
		if bareBinding(buffer[:n]) {
			l.service.counters.bindings.Add(1)
			_, _ = l.WriteToUDPAddrPort(bindingAnswer(l.answer[:], buffer[:n], from), from)
			continue
		}
		if unsigned(buffer[:n]) && l.service.limiter.exhausted(from.Addr(), time.Now()) {
			l.service.counters.limited.Add(1)
			continue // its answer would not be sent, so none is made
		}
		return n, net.UDPAddrFromAddrPort(from), nil
	}
}

// WriteTo sends what the TURN server says to a client, but for errors that come too often to one
// that has not shown who it is.
func (l *listener) WriteTo(message []byte, to net.Addr) (int, error) {
	client := to.(*net.UDPAddr).AddrPort()
	if isError(message) {
		if attribute(message, attrMessageIntegrity) == nil {
			if !l.service.limiter.allow(client.Addr(), time.Now()) {
				l.service.counters.limited.Add(1)
				return len(message), nil
			}
		} else if message[1] == channelBindError&0xFF && errorCode(message) == 401 {
			message = l.forbidden(message)
		}
	}
	if _, err := l.WriteToUDPAddrPort(message, client); errors.Is(err, net.ErrClosed) {
		return 0, err
	}
	return len(message), nil
}

// forbidden is what a client is to be told of a peer that is refused (RFC 8656, section 12.2); the
// library says 401 here, at which clients try again with the same credentials.
func (l *listener) forbidden(message []byte) []byte {
	said := &stun.Message{Raw: message}
	if said.Decode() != nil {
		return message
	}
	made, err := stun.Build(stun.NewTransactionIDSetter(said.TransactionID), said.Type,
		stun.CodeForbidden, stun.MessageIntegrity(l.key))
	if err != nil {
		return message
	}
	return made.Raw
}

func (l *listener) authenticate(request *turn.RequestAttributes) (string, []byte, bool) {
	settings := l.service.config.Load()
	fault := credentialFault(request.Username, time.Now().Unix())
	if fault == "" && request.Realm != settings.realm {
		fault = "realm"
	}
	if fault != "" {
		l.service.counters.rejected(fault)
		return "", nil, false
	}
	l.key = authKey(request.Username, settings.realm,
		password(*l.service.secret.Load(), request.Username))
	client := request.SrcAddr.(*net.UDPAddr).AddrPort().Addr()
	return owner{request.Username, clientBlock(client)}.String(), l.key, true
}

// admits says whether there is room for one more allocation; the library answers 486 if not.
func (s *service) admits(username, _ string, _ net.Addr) bool {
	err := s.quotas.check(parseOwner(username), *s.config.Load())
	if err != nil {
		s.counters.refused(err.Error())
	}
	return err == nil
}

// permits says whether a client may ask for an address; ports are looked at for each packet.
func (s *service) permits(_ net.Addr, peer net.IP) bool {
	s.machine.freshen(time.Now())
	addr, _ := netip.AddrFromSlice(peer) // an IPv4-mapped one stays what it is
	said := judgeAddress(addr, s.machine, s.config.Load().allowedPeers)
	if said != passed {
		s.counters.permissionsRefused.Add(1)
	}
	return said == passed
}

func (s *service) events() turn.EventHandler {
	return turn.EventHandler{
		OnAuth: func(_, _ net.Addr, _, _, _, _ string, verdict bool) {
			if !verdict {
				s.counters.rejected("password")
			}
		},
		OnAllocationCreated: func(_, _ net.Addr, _, _, _ string, _ net.Addr, _ int) {
			s.counters.allocations.Add(1)
		},
	}
}

// silence is the library's log: it would name the addresses of clients and their peers.
type silence struct{}

func (silence) NewLogger(string) logging.LeveledLogger { return silence{} }
func (silence) Trace(string)                           {}
func (silence) Tracef(string, ...any)                  {}
func (silence) Debug(string)                           {}
func (silence) Debugf(string, ...any)                  {}
func (silence) Info(string)                            {}
func (silence) Infof(string, ...any)                   {}
func (silence) Warn(string)                            {}
func (silence) Warnf(string, ...any)                   {}
func (silence) Error(string)                           {}
func (silence) Errorf(string, ...any)                  {}
