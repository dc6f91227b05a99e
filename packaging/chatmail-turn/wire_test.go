package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// The answer to a bare binding request is as short as can be, and the library reads it.
func TestBindingAnswer(t *testing.T) {
	for text, size := range map[string]int{"192.0.2.7:4711": 32, "[2001:db8::7]:4711": 44} {
		request := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
		if !bareBinding(request.Raw) {
			t.Fatal("a bare request is not recognized")
		}
		from := netip.MustParseAddrPort(text)
		answer := bindingAnswer(make([]byte, 64), request.Raw, from)
		read := &stun.Message{Raw: answer}
		var mapped stun.XORMappedAddress
		if err := read.Decode(); err != nil || mapped.GetFrom(read) != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(answer) != size || mapped.String() != text || read.TransactionID != request.TransactionID ||
			read.Type != stun.BindingSuccess {
			t.Errorf("%s: %d bytes, %s", text, len(answer), mapped)
		}
	}
}

// What is no bare binding request is left to the library.
func TestOtherMessages(t *testing.T) {
	for _, message := range [][]byte{
		nil,
		make([]byte, headerBytes),
		stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint).Raw,
		stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw,
		stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw[:19],
	} {
		if bareBinding(message) {
			t.Errorf("%x is taken for a bare binding request", message)
		}
	}
}

// Errors are known by their class, with code and whether their receiver has shown who it is.
func TestErrors(t *testing.T) {
	refused := stun.NewType(stun.MethodChannelBind, stun.ClassErrorResponse)
	bare := stun.MustBuild(stun.TransactionID, refused, stun.CodeUnauthorized, stun.NewRealm("r")).Raw
	signed := stun.MustBuild(stun.TransactionID, refused, stun.CodeForbidden, stun.MessageIntegrity("k")).Raw
	if !isError(bare) || errorCode(bare) != 401 || attribute(bare, attrMessageIntegrity) != nil {
		t.Error("an unauthenticated error")
	}
	if !isError(signed) || errorCode(signed) != 403 || len(attribute(signed, attrMessageIntegrity)) != 20 {
		t.Error("an authenticated error")
	}
	if isError(stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw) {
		t.Error("a success is taken for an error")
	}
}

// An address gets so many errors and then some every second; others do not feel it.
func TestLimiter(t *testing.T) {
	l, now := newLimiter(), time.Unix(someNow, 0)
	count := func(text string, at time.Time) (passed int) {
		for range 1000 {
			if l.allow(netip.MustParseAddr(text), at) {
				passed++
			}
		}
		return passed
	}
	if got := count("192.0.2.1", now); got != errorsAtOnce {
		t.Errorf("%d at once", got)
	}
	if got := count("192.0.2.1", now.Add(time.Second)); got != errorsPerSec {
		t.Errorf("%d a second later", got)
	}
	whole := 0
	for _, other := range []string{"192.0.2.2", "192.0.2.3", "2001:db8::1"} {
		whole += count(other, now)
	}
	if whole < 2*errorsAtOnce { // two may share a place
		t.Errorf("others got %d", whole)
	}
}

// Whatever arrives, looking at it does no harm.
func FuzzWire(f *testing.F) {
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint).Raw)
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassErrorResponse),
		stun.CodeUnauthorized, stun.NewRealm("chat.example")).Raw)
	f.Fuzz(func(t *testing.T, message []byte) {
		if bareBinding(message) && len(message) != headerBytes {
			t.Error("a bare request with something in it")
		}
		if isError(message) {
			attribute(message, attrMessageIntegrity)
			if code := errorCode(message); code < 0 || code > 7*100+255 {
				t.Errorf("code %d", code)
			}
		}
	})
}
