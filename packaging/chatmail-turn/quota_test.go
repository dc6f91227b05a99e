package main

import (
	"errors"
	"net/netip"
	"testing"
)

var someLimits = config{total: 4, perCredential: 2, perAddress: 3}

// Each quota ends where it is set, and what is given back can be taken again.
func TestQuotas(t *testing.T) {
	q := newQuotas()
	steps := []struct {
		who  owner
		want error
	}{
		{owner{"1", "a"}, nil},
		{owner{"1", "a"}, nil},
		{owner{"1", "b"}, errCredentialQuota},
		{owner{"2", "a"}, nil},
		{owner{"3", "a"}, errAddressQuota},
		{owner{"3", "b"}, nil},
		{owner{"4", "c"}, errTotalQuota},
	}
	for i, step := range steps {
		if got := q.take(step.who, someLimits); !errors.Is(got, step.want) {
			t.Errorf("step %d: %v, not %v", i, got, step.want)
		}
	}
	q.give(owner{"1", "a"})
	if err := q.check(owner{"3", "a"}, someLimits); err != nil {
		t.Errorf("after one ended: %v", err)
	}
	for _, who := range []owner{{"1", "a"}, {"2", "a"}, {"3", "b"}} {
		q.give(who)
	}
	if q.count() != 0 || len(q.credentials)+len(q.clients) != 0 {
		t.Errorf("something is left: %v", q)
	}
}

// Owners are told apart by what the library keeps of them, and IPv6 clients by their network.
func TestOwners(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"::ffff:192.0.2.7":     "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"2001:db8:1:2::1":      "2001:db8:1:2::",
		"fe80::1%eth0":         "fe80::",
	} {
		if got := clientBlock(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %s", text, got)
		}
		who := owner{"1800000000", want}
		if parseOwner(who.String()) != who {
			t.Errorf("%v is not read as it is written", who)
		}
	}
}
