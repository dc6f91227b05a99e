package main

import (
	"encoding/hex"
	"path/filepath"
	"strconv"
	"testing"
)

const someNow = 1_800_000_000

// Password and key are those of a worked example, made with openssl(1).
func TestPasswordAndKey(t *testing.T) {
	made := password([]byte("0123456789abcdef0123456789abcdef"), "1800000000")
	if made != "X6emBktNz7M2dChfuVytus1yRlo=" {
		t.Errorf("the password is %s", made)
	}
	if key := hex.EncodeToString(authKey("1800000000", "chat.example", "pw")); key != "6a2a195e0855555a25174b3c8bba89f4" {
		t.Errorf("the key is %s", key)
	}
}

// A username is the bare decimal time of its expiry, not in the past, not too far ahead.
func TestCredentialFault(t *testing.T) {
	for username, want := range map[string]string{
		strconv.Itoa(someNow + 1):            "",
		strconv.Itoa(someNow + validity):     "",
		strconv.Itoa(someNow):                "expired",
		"0":                                  "expired",
		strconv.Itoa(someNow + validity + 1): "far_future",
		"9223372036854775807":                "far_future",
		"9223372036854775808":                "malformed",
		"":                                   "malformed",
		"-1":                                 "malformed",
		"+1800000001":                        "malformed",
		"01800000001":                        "malformed",
		"1800000001:alice":                   "malformed",
		"1800000001\x00":                     "malformed",
		"0x6b49d201":                         "malformed",
	} {
		if got := credentialFault(username, someNow); got != want {
			t.Errorf("%q: %q, not %q", username, got, want)
		}
	}
}

func openAt(t *testing.T, path string, now int64) *seconds {
	t.Helper()
	opened, err := openSeconds(path, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.close() })
	return opened
}

// Credentials of the same second get earlier ones; none is given twice while it lives, not by
// another process either.
func TestSecondsAreGivenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seconds")
	seen := map[int64]bool{}
	take := func(from *seconds, now int64) {
		t.Helper()
		expiry, err := from.next(now)
		if err != nil || seen[expiry] || credentialFault(strconv.FormatInt(expiry, 10), now) != "" {
			t.Fatalf("%d at %d: %v, seen %t", expiry, now, err, seen[expiry])
		}
		seen[expiry] = true
	}
	first := openAt(t, path, someNow)
	for range 100 {
		take(first, someNow)
	}
	if !seen[someNow+validity] || !seen[someNow+validity-99] {
		t.Error("they are not the latest ones")
	}
	second := openAt(t, path, someNow+1)
	for range 100 {
		take(second, someNow+1)
	}
	for now := int64(someNow + 2); now < someNow+50; now++ {
		take(second, now)
		take(second, now)
	}
}

// A second is free again when its credential has expired; with none left, that is said.
func TestSecondsRunOutAndReturn(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "seconds"), someNow)
	for i := range s.taken {
		s.taken[i] = true
	}
	if _, err := s.next(someNow); err == nil {
		t.Error("a taken second was given")
	}
	if expiry, err := s.next(someNow + 7); err != nil || expiry != someNow+7+validity {
		t.Errorf("%d, %v", expiry, err)
	}
	if expiry, err := s.next(someNow + 2*validity); err != nil || expiry != someNow+3*validity {
		t.Errorf("after a long time: %d, %v", expiry, err)
	}
}
