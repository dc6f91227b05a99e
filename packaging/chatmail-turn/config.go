package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// config is what an operator decided, as `chatmail-relay apply` writes it.
type config struct {
	realm            string         // the relay's domain
	publicAddresses  []netip.Addr   // empty: those of the realm in DNS
	minPort, maxPort uint16         // of relayed addresses
	total            int            // allocations
	perCredential    int            // allocations
	perAddress       int            // allocations of an IPv4 address, or an IPv6 /64
	bandwidth        int            // kbit/s of an allocation, each way
	allowedPeers     []netip.Prefix // although the policy refuses them otherwise
}

// problem is a value an operator has to change.
type problem struct {
	file, key, value, allowed string
}

func (p problem) Error() string {
	if p.key == "" {
		return fmt.Sprintf("%s: %s", p.file, p.allowed)
	}
	return fmt.Sprintf("%s: %s = %q is not allowed: %s", p.file, p.key, p.value, p.allowed)
}

// optional are lists, which are empty when they are not there.
var optional = map[string]bool{"public_addresses": true, "allowed_peers": true}

// readConfig reads lines of `key = value`; every key but lists has to be there, and none other.
func readConfig(path string) (config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return config{}, problem{file: path, allowed: "cannot be read: " + reason(err)}
	}
	return parseConfig(string(text), path)
}

func parseConfig(text, path string) (config, error) {
	var made config
	fields := made.fields()
	seen := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		set, known := fields[key]
		if !known || seen[key] {
			return config{}, problem{file: path, allowed: fmt.Sprintf("unknown or repeated key %q", key)}
		}
		seen[key] = true
		if allowed := set(value); allowed != "" {
			return config{}, problem{path, key, value, allowed}
		}
	}
	if err := lines.Err(); err != nil {
		return config{}, problem{file: path, allowed: "a line is too long"}
	}
	for key := range fields {
		if !seen[key] && !optional[key] {
			return config{}, problem{file: path, allowed: fmt.Sprintf("the key %q is missing", key)}
		}
	}
	if made.maxPort < made.minPort {
		return config{}, problem{path, "max_port", strconv.Itoa(int(made.maxPort)), "at least min_port"}
	}
	return made, nil
}

// fields says how to set each key; the functions return what is allowed when the value is not.
func (c *config) fields() map[string]func(string) string {
	return map[string]func(string) string{
		"realm":                          name(&c.realm),
		"public_addresses":               list(&c.publicAddresses, netip.ParseAddr, "IP addresses"),
		"min_port":                       port(&c.minPort),
		"max_port":                       port(&c.maxPort),
		"max_allocations":                whole(&c.total),
		"max_allocations_per_credential": whole(&c.perCredential),
		"max_allocations_per_address":    whole(&c.perAddress),
		"bandwidth_kbit":                 whole(&c.bandwidth),
		"allowed_peers":                  list(&c.allowedPeers, netip.ParsePrefix, "networks"),
	}
}

func name(target *string) func(string) string {
	return func(text string) string {
		if text == "" || len(text) > 253 || strings.ContainsAny(text, " \t\"") {
			return "a host name"
		}
		*target = text
		return ""
	}
}

func whole(target *int) func(string) string {
	return func(text string) string {
		number, err := strconv.ParseUint(text, 10, 30)
		if err != nil || number == 0 {
			return "a whole number above 0"
		}
		*target = int(number)
		return ""
	}
}

func port(target *uint16) func(string) string {
	return func(text string) string {
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil || number < 1024 {
			return "a port, 1024 to 65535"
		}
		*target = uint16(number)
		return ""
	}
}

func list[T any](target *[]T, parse func(string) (T, error), what string) func(string) string {
	return func(text string) string {
		*target = nil
		for _, word := range strings.Fields(strings.ReplaceAll(text, ",", " ")) {
			item, err := parse(word)
			if err != nil {
				return what
			}
			*target = append(*target, item)
		}
		return ""
	}
}

// reason is what went wrong without the path, which the message has already.
func reason(err error) string {
	text := err.Error()
	if at := strings.LastIndex(text, ": "); at >= 0 {
		return text[at+2:]
	}
	return text
}
