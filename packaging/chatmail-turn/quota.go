package main

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
)

// owner is to whom an allocation counts: a credential, and the client's address or IPv6 network.
type owner struct {
	credential, client string
}

// String is the id by which the TURN library knows the owner of an allocation.
func (o owner) String() string {
	return o.credential + " " + o.client
}

func parseOwner(id string) owner {
	credential, client, _ := strings.Cut(id, " ")
	return owner{credential, client}
}

// clientBlock is what counts as one client address: IPv6 users have a whole /64 each.
func clientBlock(addr netip.Addr) string {
	return clientNetwork(addr).String()
}

func clientNetwork(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if addr.Is6() {
		network, _ := addr.WithZone("").Prefix(64)
		return network.Addr()
	}
	return addr
}

var (
	errCredentialQuota = errors.New("quota_credential")
	errAddressQuota    = errors.New("quota_address")
	errTotalQuota      = errors.New("quota_total")
)

// quotas counts live allocations.
type quotas struct {
	lock        sync.Mutex
	total       int
	credentials map[string]int
	clients     map[string]int
}

func newQuotas() *quotas {
	return &quotas{credentials: map[string]int{}, clients: map[string]int{}}
}

// check says which quota one more allocation would pass.
func (q *quotas) check(who owner, limits config) error {
	q.lock.Lock()
	defer q.lock.Unlock()
	return q.room(who, limits)
}

// take counts one more allocation, unless a quota is reached.
func (q *quotas) take(who owner, limits config) error {
	q.lock.Lock()
	defer q.lock.Unlock()
	if err := q.room(who, limits); err != nil {
		return err
	}
	q.total++
	q.credentials[who.credential]++
	q.clients[who.client]++
	return nil
}

func (q *quotas) room(who owner, limits config) error {
	switch {
	case q.total >= limits.total:
		return errTotalQuota
	case q.credentials[who.credential] >= limits.perCredential:
		return errCredentialQuota
	case q.clients[who.client] >= limits.perAddress:
		return errAddressQuota
	}
	return nil
}

// give back what take took.
func (q *quotas) give(who owner) {
	q.lock.Lock()
	defer q.lock.Unlock()
	q.total--
	less(q.credentials, who.credential)
	less(q.clients, who.client)
}

func (q *quotas) count() int {
	q.lock.Lock()
	defer q.lock.Unlock()
	return q.total
}

func less(counts map[string]int, key string) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}
