package main

import (
	"strings"
	"testing"
)

const someConfig = `# a comment
realm = chat.example
public_addresses = 192.0.2.1 2001:db8::1
min_port = 49152
max_port = 65535
max_allocations = 1000
max_allocations_per_credential = 20
max_allocations_per_address = 100
bandwidth_kbit = 4000
allowed_peers = 10.0.0.0/8
`

// A whole file is read.
func TestConfig(t *testing.T) {
	short := strings.ReplaceAll(strings.ReplaceAll(someConfig, "allowed", "# "), "public", "# ")
	if got, err := parseConfig(short, "turn.conf"); err != nil || len(got.allowedPeers) != 0 {
		t.Errorf("without lists: %v", err)
	}
	got, err := parseConfig(someConfig, "turn.conf")
	if err != nil {
		t.Fatal(err)
	}
	if got.realm != "chat.example" || len(got.publicAddresses) != 2 || got.maxPort != 65535 ||
		got.total != 1000 || len(got.allowedPeers) != 1 {
		t.Errorf("%+v", got)
	}
}

// What is wrong is told with file, key, value and what is allowed.
func TestConfigFaults(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"realm = chat.example", "realm =", `realm = "" is not allowed: a host name`},
		{"49152", "80", `min_port = "80" is not allowed: a port`},
		{"65535", "65536", `max_port = "65536"`},
		{"65535", "49151", "at least min_port"},
		{"= 1000", "= 0", "a whole number above 0"},
		{"= 20", "= many", "a whole number"},
		{"192.0.2.1", "192.0.2", "IP addresses"},
		{"10.0.0.0/8", "10.0.0.1", "networks"},
		{"bandwidth_kbit = 4000", "", `the key "bandwidth_kbit" is missing`},
		{"# a comment", "colour = red", `unknown or repeated key "colour"`},
		{"# a comment", "realm = twice", `unknown or repeated key "realm"`},
		{"# a comment", strings.Repeat("x", 100_000), "too long"},
	} {
		_, err := parseConfig(strings.Replace(someConfig, c.old, c.new, 1), "turn.conf")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "turn.conf: ") {
			t.Errorf("%q: %v", c.new, err)
		}
	}
}
