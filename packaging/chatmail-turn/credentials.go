package main

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"sync"
)

const (
	// validity of a credential, in seconds.
	validity = 5 * 24 * 3600
	// leastValidity is what a credential must be good for: apps get another when less is left.
	leastValidity = 12 * 3600
	// secretBytes a secret has at least.
	secretBytes = 32
)

// password is that of a username under a secret: the draft "REST API for access to TURN services".
func password(secret []byte, username string) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// authKey is the key of the long-term credential mechanism (RFC 8489, section 9.2.2).
func authKey(username, realm, password string) []byte {
	sum := md5.Sum([]byte(username + ":" + realm + ":" + password))
	return sum[:]
}

// credentialFault says why a username is refused at the Unix time now; "" when it is not.
func credentialFault(username string, now int64) string {
	expiry, err := strconv.ParseInt(username, 10, 64)
	switch {
	case err != nil, strconv.FormatInt(expiry, 10) != username, expiry < 0:
		return "malformed"
	case expiry <= now:
		return "expired"
	case expiry > now+validity:
		return "far_future"
	}
	return ""
}

// seconds hands out expiry times, each to one credential: usernames are nothing but that time, and
// quotas count by username. It is remembered on disk, so that a restart gives none out again.
type seconds struct {
	lock  sync.Mutex
	taken [validity]bool // by expiry modulo validity: all that can be live fit exactly
	swept int64          // up to this time the places of expired ones are free again
	file  *os.File       // an expiry at 8 times its place
}

var errNoSecond = errors.New("every second is taken")

// openSeconds reads what was handed out before and has not expired at the Unix time now.
func openSeconds(path string, now int64) (*seconds, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	known, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s := &seconds{swept: now, file: file}
	for place := 0; place < validity && 8*place+8 <= len(known); place++ {
		expiry := int64(binary.BigEndian.Uint64(known[8*place:]))
		s.taken[place] = expiry > now && expiry <= now+validity && expiry%validity == int64(place)
	}
	return s, nil
}

// next is the latest free expiry, or an error when none is left that would be of use.
func (s *seconds) next(now int64) (int64, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.sweep(now)
	for expiry := now + validity; expiry >= now+leastValidity; expiry-- {
		place := expiry % validity
		if s.taken[place] {
			continue
		}
		var record [8]byte
		binary.BigEndian.PutUint64(record[:], uint64(expiry))
		_, _ = s.file.WriteAt(record[:], 8*place) // on a full disk it is known until a restart
		s.taken[place] = true
		return expiry, nil
	}
	return 0, errNoSecond
}

func (s *seconds) sweep(now int64) {
	for from := max(s.swept, now-validity); from < now; from++ {
		s.taken[(from+1)%validity] = false
	}
	s.swept = max(s.swept, now)
}

func (s *seconds) close() error {
	return s.file.Close()
}
