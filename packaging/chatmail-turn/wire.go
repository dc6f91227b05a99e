package main

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// STUN and TURN messages (RFC 8489, section 5; RFC 8656), as far as they are looked at or made here.
const (
	headerBytes = 20
	magicCookie = 0x2112A442

	bindingRequest   = 0x0001
	bindingSuccess   = 0x0101
	errorClass       = 0x0110 // the class bits of an error response, over the method's
	channelBindError = 0x0119

	attrMessageIntegrity = 0x0008
	attrErrorCode        = 0x0009
	attrXORMappedAddress = 0x0020
)

func isStun(message []byte) bool {
	return len(message) >= headerBytes && message[0]&0xC0 == 0 &&
		binary.BigEndian.Uint32(message[4:]) == magicCookie
}

// bareBinding says whether message is a binding request without any attribute, as apps send it.
func bareBinding(message []byte) bool {
	return len(message) == headerBytes && isStun(message) &&
		binary.BigEndian.Uint16(message) == bindingRequest && binary.BigEndian.Uint16(message[2:]) == 0
}

// bindingAnswer writes the shortest answer to a bare binding request: 32 bytes, 44 with IPv6.
func bindingAnswer(buffer, request []byte, from netip.AddrPort) []byte {
	addr := from.Addr().Unmap()
	raw := addr.AsSlice()
	family := byte(1)
	if addr.Is6() {
		family = 2
	}
	answer := append(buffer[:0], request[:headerBytes]...)
	binary.BigEndian.PutUint16(answer, bindingSuccess)
	binary.BigEndian.PutUint16(answer[2:], uint16(8+len(raw)))
	answer = binary.BigEndian.AppendUint16(answer, attrXORMappedAddress)
	answer = binary.BigEndian.AppendUint16(answer, uint16(4+len(raw)))
	answer = append(answer, 0, family)
	answer = binary.BigEndian.AppendUint16(answer, from.Port()^(magicCookie>>16))
	for i, b := range raw {
		answer = append(answer, b^request[4+i]) // the cookie, then the transaction id
	}
	return answer
}

// attribute is the value of a message's first attribute of a type; nil when there is none.
func attribute(message []byte, wanted uint16) []byte {
	for rest := message[headerBytes:]; len(rest) >= 4; {
		length := int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+length {
			return nil
		}
		if binary.BigEndian.Uint16(rest) == wanted {
			return rest[4 : 4+length]
		}
		rest = rest[min(len(rest), 4+(length+3)&^3):]
	}
	return nil
}

// isError says whether message is an error response.
func isError(message []byte) bool {
	return isStun(message) && binary.BigEndian.Uint16(message)&errorClass == errorClass
}

// unsigned says whether message is a request whose sender does not show who it is.
func unsigned(message []byte) bool {
	return isStun(message) && binary.BigEndian.Uint16(message)&errorClass == 0 &&
		attribute(message, attrMessageIntegrity) == nil
}

// errorCode is that of an error response, 0 when it has none.
func errorCode(message []byte) int {
	value := attribute(message, attrErrorCode)
	if len(value) < 4 {
		return 0
	}
	return int(value[2]&7)*100 + int(value[3])
}

const (
	limiterPlaces = 8192
	errorsPerSec  = 10
	errorsAtOnce  = 50
)

// limiter holds back answers to clients who have not shown who they are: their address may be
// somebody else's. It has a fixed size: addresses share a place by a hash that nobody can foresee.
type limiter struct {
	seed   maphash.Seed
	places [limiterPlaces]*rate.Limiter
}

func newLimiter() *limiter {
	made := &limiter{seed: maphash.MakeSeed()}
	for i := range made.places {
		made.places[i] = rate.NewLimiter(errorsPerSec, errorsAtOnce)
	}
	return made
}

func (l *limiter) allow(to netip.Addr, now time.Time) bool {
	return l.place(to).AllowN(now, 1)
}

// exhausted says whether allow would refuse.
func (l *limiter) exhausted(to netip.Addr, now time.Time) bool {
	return l.place(to).TokensAt(now) < 1
}

func (l *limiter) place(client netip.Addr) *rate.Limiter {
	return l.places[maphash.Comparable(l.seed, clientNetwork(client))%limiterPlaces]
}
