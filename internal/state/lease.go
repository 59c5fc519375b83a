package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// The lease's times, by the storage's clock.
const (
	LeaseLife    = 60 * time.Second // after a renewal; then anybody may take the lease
	LeaseRenewal = 20 * time.Second // how often its holder renews it
	leaseLate    = 25 * time.Second // older than this, a renewal was missed: the holder may be dead
)

const (
	leaseLimit = 64 << 10 // bytes; a lease has about 150
	leaseTries = 30       // when others write it at the same moments
)

// ErrLeaseLost says that somebody else took the lease, because it was not renewed in time.
var ErrLeaseLost = errors.New("another run has taken the lease")

// lease keeps runs of one route from doing the same work side by side. It is no fence: see SwapRecord.
type lease struct {
	Format  int       `json:"format"`
	Nonce   string    `json:"nonce"`
	Holder  string    `json:"holder"`           // a run; "" is free
	Again   bool      `json:"again"`            // the bell: the holder, or the next one, must list again
	Renewed time.Time `json:"renewed,omitzero"` // by its holder; zero if this very write is the renewal
}

// seenLease is a lease as it was read.
type seenLease struct {
	lease
	version string        // "" if there is none
	garbage bool          // nothing is known but its age
	age     time.Duration // since the last renewal
}

func (l *seenLease) free() bool {
	return l.version == "" || l.Holder == "" && !l.garbage || l.age >= LeaseLife
}

// Taken is what came of TakeLease.
type Taken struct {
	Held bool // the lease is the caller's
	// Unclean, if Held: a run before failed or died, and may have left things behind.
	Unclean bool
	// Late, if not Held: the holder missed a renewal or cannot be told, so that ringing it may reach nobody.
	Late bool
}

// TakeLease takes the lease for a run, which clears the bell; a run that holds it already keeps both. If another run
// holds it, it rings: that run, or the next one, lists again. It never waits.
func (s *Store) TakeLease(ctx context.Context, run string) (Taken, error) {
	var t Taken
	err := s.changeLease(ctx, func(l seenLease) (lease, bool) {
		switch {
		case l.Holder == run && !l.garbage:
			t = Taken{Held: true, Unclean: t.Unclean}
			return lease{Holder: run, Again: l.Again}, true
		case l.free():
			t = Taken{Held: true, Unclean: l.garbage || l.Holder != "" || l.Again}
			return lease{Holder: run}, true
		}
		t = Taken{Late: l.garbage || l.age > leaseLate}
		return l.rung(), !l.Again && !l.garbage
	})
	return t, err
}

// rung is the lease with its bell set. It stays as old as it was, or ringing would make a dead holder's lease younger.
func (l seenLease) rung() lease {
	next := l.lease
	next.Again = true
	return next
}

// RenewLease makes the lease young again. It fails with ErrLeaseLost if the run no longer holds it.
func (s *Store) RenewLease(ctx context.Context, run string) error {
	lost := false
	err := s.changeLease(ctx, func(l seenLease) (lease, bool) {
		lost = l.Holder != run
		return lease{Holder: run, Again: l.Again}, !lost
	})
	if err == nil && lost {
		return ErrLeaseLost
	}
	return err
}

// ReleaseLease ends a run that did its work. If somebody rang meanwhile it clears the bell, the run holds the lease on, and must list
// again. A lease that another run has taken is left alone: that run lists later than this one did.
func (s *Store) ReleaseLease(ctx context.Context, run string) (again bool, err error) {
	err = s.changeLeaseFrom(ctx, s.ownLease(run), func(l seenLease) (lease, bool) {
		mine := l.Holder == run
		again = mine && (again || l.Again) // a try before this one may have cleared the bell, and only its answer was lost
		if again {
			return lease{Holder: run}, true
		}
		return lease{}, mine // free, not deleted: a deleted lease could not be rung
	})
	return again, err
}

// AbandonLease ends a run that did not do its work: it sets the bell, whoever holds the lease by now, and frees the lease if that is
// the run itself.
func (s *Store) AbandonLease(ctx context.Context, run string) error {
	return s.changeLease(ctx, func(l seenLease) (lease, bool) {
		if l.Holder == run && !l.garbage || l.version == "" {
			return lease{Again: true}, true
		}
		return l.rung(), !l.Again && !l.garbage
	})
}

// Owed reports whether a listing is owed, so that no event may be called covered: the bell is set, or the holder may have died, after
// it had answered the bell.
func (s *Store) Owed(ctx context.Context) (bool, error) {
	l, err := s.readLease(ctx)
	return l.Again || l.garbage || l.Holder != "" && l.age > leaseLate, err
}

func (s *Store) leaseKey() string { return s.prefix + "lease.json" }

// ownLease is the lease as run wrote it last, if it did, so that it need not be read: if it is no longer that, the write fails.
func (s *Store) ownLease(run string) *seenLease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrote.Holder != run {
		return nil
	}
	l := s.wrote
	return &l
}

// changeLease writes what decide makes of the lease, unless that says no; it begins again when somebody else wrote it meanwhile.
func (s *Store) changeLease(ctx context.Context, decide func(seenLease) (next lease, write bool)) error {
	return s.changeLeaseFrom(ctx, nil, decide)
}

// changeLeaseFrom is changeLease, for a caller that may know the lease (its age apart) already.
func (s *Store) changeLeaseFrom(ctx context.Context, known *seenLease, decide func(seenLease) (next lease, write bool)) error {
	for range leaseTries {
		var seen seenLease
		if known != nil {
			seen, known = *known, nil
		} else {
			var err error
			if seen, err = s.readLease(ctx); err != nil {
				return err
			}
		}
		next, write := decide(seen)
		if !write {
			return nil
		}
		err := s.putLease(ctx, &next, seen.version)
		if err == nil {
			return nil
		}
		if now, readErr := s.readLease(ctx); readErr == nil && now.Nonce == next.Nonce {
			return nil // it took effect, and only the answer was lost
		}
		if !errors.Is(err, bucket.ErrChanged) {
			return fmt.Errorf("writing the lease: %w", err)
		}
	}
	return fmt.Errorf("writing the lease %s/%s: others wrote it at the same moment, %d times in a row", s.bucket, s.leaseKey(), leaseTries)
}

func (s *Store) putLease(ctx context.Context, next *lease, old string) error {
	next.Format, next.Nonce = Format, nonce()
	data, err := json.MarshalIndent(next, "", " ")
	if err != nil {
		return err
	}
	when := bucket.IfAbsent()
	if old != "" {
		when = bucket.IfVersion(old)
	}
	version, err := s.bucket.Put(ctx, s.leaseKey(), bytes.NewReader(data), when)
	if err == nil {
		s.mu.Lock()
		s.wrote = seenLease{lease: *next, version: version}
		s.mu.Unlock()
	}
	return err
}

// readLease reads the lease. What is no lease of this format is garbage: nobody can be rung there, and it runs out as a dead
// holder's lease does.
func (s *Store) readLease(ctx context.Context) (seenLease, error) {
	data, object, now, err := bucket.ReadDated(ctx, s.bucket, s.leaseKey(), "", leaseLimit)
	if errors.Is(err, bucket.ErrNotExist) {
		return seenLease{}, nil
	}
	if err != nil && !errors.Is(err, bucket.ErrTooLarge) {
		return seenLease{}, fmt.Errorf("reading the lease: %w", err)
	}
	l := seenLease{version: object.Version}
	if err != nil || json.Unmarshal(data, &l.lease) != nil || l.Format != Format {
		l.lease, l.garbage = lease{}, true
	}
	renewed := object.Modified
	if !l.Renewed.IsZero() && l.Renewed.Before(renewed) { // a time in the future would never run out
		renewed = l.Renewed
	}
	l.age, l.Renewed = now.Sub(renewed), renewed
	return l, nil
}
