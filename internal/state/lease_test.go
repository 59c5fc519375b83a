package state_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/state"
)

const leaseKey = "prod/lease.json"

// leaseLine is the format of lease.json.
type leaseLine struct {
	Format  int       `json:"format"`
	Nonce   string    `json:"nonce"`
	Holder  string    `json:"holder"`
	Again   bool      `json:"again"`
	Renewed time.Time `json:"renewed,omitzero"`
}

// leaseWorld is a lease under a storage's clock that a test sets.
type leaseWorld struct {
	t      testing.TB
	now    time.Time
	puts   int
	bucket *membucket.Bucket
	*state.Store
}

func newLeaseWorld(t testing.TB) *leaseWorld {
	w := &leaseWorld{t: t, now: when, bucket: membucket.New("state")}
	w.bucket.ETags = true // as on S3: only the nonce tells two writes of one lease apart
	w.bucket.Now = func() time.Time { return w.now }
	w.bucket.Fault = func(op membucket.Op, _ string, after bool) error {
		if op == membucket.Put && after {
			w.puts++
		}
		return nil
	}
	w.Store = state.NewStore(w.bucket, "", "prod")
	return w
}

func (w *leaseWorld) pass(d time.Duration) { w.now = w.now.Add(d) }

func (w *leaseWorld) write(content string) {
	w.t.Helper()
	_, err := w.bucket.Put(w.t.Context(), leaseKey, strings.NewReader(content), bucket.Always)
	require.NoError(w.t, err)
}

func (w *leaseWorld) raw() string {
	w.t.Helper()
	content, _, err := bucket.Read(w.t.Context(), w.bucket, leaseKey, "", 2<<20)
	require.NoError(w.t, err)
	return string(content)
}

func (w *leaseWorld) lease() leaseLine {
	w.t.Helper()
	var l leaseLine
	require.NoError(w.t, json.Unmarshal([]byte(w.raw()), &l))
	return l
}

func (w *leaseWorld) take(run string) state.Taken {
	w.t.Helper()
	taken, err := w.TakeLease(w.t.Context(), run)
	require.NoError(w.t, err)
	return taken
}

func (w *leaseWorld) release(run string) (again bool) {
	w.t.Helper()
	again, err := w.ReleaseLease(w.t.Context(), run)
	require.NoError(w.t, err)
	return again
}

func (w *leaseWorld) abandon(run string) {
	w.t.Helper()
	require.NoError(w.t, w.AbandonLease(w.t.Context(), run))
}

func (w *leaseWorld) owed() bool {
	w.t.Helper()
	owed, err := w.Owed(w.t.Context())
	require.NoError(w.t, err)
	return owed
}

func (w *leaseWorld) requireLease(holder string, again bool) {
	w.t.Helper()
	l := w.lease()
	require.Equal(w.t, leaseLine{Format: 1, Nonce: l.Nonce, Holder: holder, Again: again, Renewed: l.Renewed}, l)
	require.NotEmpty(w.t, l.Nonce)
}

func TestTakeLease(t *testing.T) {
	held, unclean := state.Taken{Held: true}, state.Taken{Held: true, Unclean: true}
	busy, late := state.Taken{}, state.Taken{Late: true}
	for name, c := range map[string]struct {
		before func(w *leaseWorld)
		age    time.Duration
		want   state.Taken
	}{
		"there is none":           {func(*leaseWorld) {}, 0, held},
		"free":                    {func(w *leaseWorld) { w.take("other"); w.release("other") }, 0, held},
		"free for long":           {func(w *leaseWorld) { w.take("other"); w.release("other") }, time.Hour, held},
		"free, and somebody rang": {func(w *leaseWorld) { w.take("other"); w.abandon("other") }, 0, unclean},
		"own":                     {func(w *leaseWorld) { w.take("me") }, 0, held},
		"own, late":               {func(w *leaseWorld) { w.take("me") }, 59 * time.Second, held},
		"own, expired":            {func(w *leaseWorld) { w.take("me") }, time.Hour, held},
		"held":                    {func(w *leaseWorld) { w.take("other") }, 0, busy},
		"held, just in time":      {func(w *leaseWorld) { w.take("other") }, 25 * time.Second, busy},
		"held, late":              {func(w *leaseWorld) { w.take("other") }, 25*time.Second + 1, late},
		"held, about to expire":   {func(w *leaseWorld) { w.take("other") }, time.Minute - 1, late},
		"held, expired":           {func(w *leaseWorld) { w.take("other") }, time.Minute, unclean},
		"held, expired and rung":  {func(w *leaseWorld) { w.take("other"); w.take("third") }, time.Minute, unclean},
		"held and renewed": {func(w *leaseWorld) {
			w.take("other")
			w.pass(59 * time.Second)
			require.NoError(w.t, w.RenewLease(w.t.Context(), "other"))
		}, 25 * time.Second, busy},
		"the clock went backwards": {func(w *leaseWorld) { w.take("other") }, -time.Hour, busy},
		"renewed in the far future": {func(w *leaseWorld) {
			w.write(`{"format":1,"holder":"other","renewed":"9999-12-31T23:59:59Z"}`)
		}, time.Minute, unclean},
		"renewed in the far past": {func(w *leaseWorld) {
			w.write(`{"format":1,"holder":"other","renewed":"0001-01-02T00:00:00Z"}`)
		}, 0, unclean},
	} {
		for _, year := range []int{1999, 2026, 2199} { // whatever the local clock says
			t.Run(fmt.Sprint(name, " in ", year), func(t *testing.T) {
				w := newLeaseWorld(t)
				w.now = time.Date(year, 3, 1, 12, 0, 0, 0, time.UTC)
				c.before(w)
				w.pass(c.age)
				require.Equal(t, c.want, w.take("me"))
				if c.want.Held {
					w.requireLease("me", false)
					require.Zero(t, w.lease().Renewed, "this very write is the renewal")
					require.Equal(t, state.Taken{}, w.take("third"), "a taken lease is young")
					return
				}
				w.requireLease("other", true)
			})
		}
	}
}

func TestTakingTheOwnLeaseAgainKeepsTheBell(t *testing.T) {
	w := newLeaseWorld(t)
	w.take("me")
	w.take("other")
	require.True(t, w.take("me").Held)
	w.requireLease("me", true)
}

func TestRinging(t *testing.T) {
	w := newLeaseWorld(t)
	w.take("holder")
	w.pass(10 * time.Second)
	w.take("second")
	require.Equal(t, 2, w.puts)
	require.True(t, w.lease().Renewed.Equal(when), "it is as old as it was")
	for _, age := range []time.Duration{0, 15 * time.Second, 34 * time.Second} {
		w.now = when.Add(10*time.Second + age)
		require.Equal(t, state.Taken{Late: age > 15*time.Second}, w.take("third"))
	}
	require.Equal(t, 2, w.puts, "a set bell is not set again")
	w.now = when.Add(time.Minute)
	require.Equal(t, state.Taken{Held: true, Unclean: true}, w.take("third"), "ringing did not make the dead holder younger")
	require.False(t, w.release("third"), "taking the lease cleared the bell")
}

func TestRingingJustBeforeTheEnd(t *testing.T) {
	w := newLeaseWorld(t)
	w.take("holder")
	w.pass(time.Minute - 1)
	require.Equal(t, state.Taken{Late: true}, w.take("second"))
	w.pass(1)
	require.True(t, w.take("second").Held)
}

func TestRenewLease(t *testing.T) {
	w := newLeaseWorld(t)
	w.take("holder")
	w.pass(20 * time.Second)
	w.take("other")
	require.NoError(t, w.RenewLease(t.Context(), "holder"))
	w.requireLease("holder", true)
	require.Zero(t, w.lease().Renewed)
	w.pass(time.Minute - 1)
	require.False(t, w.take("other").Held)
	w.pass(time.Hour)
	require.NoError(t, w.RenewLease(t.Context(), "holder"), "nobody took it")
	require.Equal(t, state.Taken{}, w.take("other"))
	require.True(t, w.release("holder"), "the bell was kept")
}

func TestALeaseThatWasLost(t *testing.T) {
	for name, lose := range map[string]func(w *leaseWorld){
		"taken":             func(w *leaseWorld) { w.pass(time.Minute); w.take("other") },
		"taken and rung":    func(w *leaseWorld) { w.pass(time.Minute); w.take("other"); w.take("third") },
		"released":          func(w *leaseWorld) { w.release("me") },
		"abandoned":         func(w *leaseWorld) { w.abandon("me") },
		"garbage":           func(w *leaseWorld) { w.write("garbage") },
		"of a newer format": func(w *leaseWorld) { w.write(`{"format":2,"holder":"me"}`) },
		"deleted":           func(w *leaseWorld) { require.NoError(w.t, w.bucket.Delete(w.t.Context(), leaseKey, "")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newLeaseWorld(t)
			w.take("me")
			lose(w)
			puts := w.puts
			require.ErrorIs(t, w.RenewLease(t.Context(), "me"), state.ErrLeaseLost)
			require.False(t, w.release("me"), "whoever holds it lists later")
			require.Equal(t, puts, w.puts, "nothing was written")
		})
	}
}

func TestReleaseLease(t *testing.T) {
	w := newLeaseWorld(t)
	w.take("me")
	require.False(t, w.release("me"))
	w.requireLease("", false)
	require.False(t, w.release("me"), "twice is as good as once")

	w.take("me")
	w.pass(50 * time.Second)
	w.take("other")
	require.True(t, w.release("me"))
	w.requireLease("me", false)
	require.Zero(t, w.lease().Renewed, "and it is young again")
	require.False(t, w.release("me"))
	w.requireLease("", false)
}

func TestAbandonLease(t *testing.T) {
	for name, c := range map[string]struct {
		before func(w *leaseWorld)
		holder string
		writes int
	}{
		"own":                   {func(w *leaseWorld) { w.take("me") }, "", 1},
		"own, rung":             {func(w *leaseWorld) { w.take("me"); w.take("other") }, "", 1},
		"another's":             {func(w *leaseWorld) { w.take("other") }, "other", 1},
		"another's, rung":       {func(w *leaseWorld) { w.take("other"); w.take("third") }, "other", 0},
		"another's, expired":    {func(w *leaseWorld) { w.take("other"); w.pass(time.Hour) }, "other", 1},
		"free":                  {func(w *leaseWorld) { w.take("other"); w.release("other") }, "", 1},
		"free and rung":         {func(w *leaseWorld) { w.take("other"); w.abandon("other") }, "", 0},
		"missing":               {func(*leaseWorld) {}, "", 1},
		"own, taken by another": {func(w *leaseWorld) { w.take("me"); w.pass(time.Minute); w.take("other") }, "other", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLeaseWorld(t)
			c.before(w)
			puts := w.puts
			w.abandon("me")
			w.requireLease(c.holder, true)
			require.Equal(t, c.writes, w.puts-puts)
			require.True(t, w.owed())
			if c.holder != "" {
				require.True(t, w.release(c.holder), "the holder must look again")
			}
		})
	}
}

func TestAbandoningAnothersLeaseKeepsItsAge(t *testing.T) {
	w := newLeaseWorld(t)
	w.take("other")
	w.pass(50 * time.Second)
	w.abandon("me")
	w.pass(10 * time.Second)
	require.True(t, w.take("me").Held)
}

func TestGarbageRunsOut(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "no JSON": "<html>", "null": "null", "a list": "[]", "cut": `{"format":1,"hol`, "wrong type": `{"format":1,"holder":7}`,
		"a time that is none": `{"format":1,"holder":"me","renewed":"soon"}`, "no format": `{"holder":"me"}`, "format 0": `{"format":0,"holder":"me"}`,
		"negative format": `{"format":-1}`, "newer format": `{"format":2,"holder":"me"}`, "newer and free": `{"format":2,"holder":"","again":false}`,
		"two documents": `{"format":1}{"format":1}`, "binary": "\x00\xff\xfe", "deep": strings.Repeat("[", 20_000),
		"1 MB": `{"format":1,"holder":"` + strings.Repeat("x", 1<<20) + `"}`, "1 MB of space": `{"format":1}` + strings.Repeat(" ", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			w := newLeaseWorld(t)
			w.write(content)
			puts := w.puts
			for _, age := range []time.Duration{0, 10 * time.Second, time.Minute - 1} {
				w.now = when.Add(age)
				require.Equal(t, state.Taken{Late: true}, w.take("me"), "nobody can be rung")
				require.ErrorIs(t, w.RenewLease(t.Context(), "me"), state.ErrLeaseLost)
				require.False(t, w.release("me"))
				w.abandon("me")
				require.True(t, w.owed(), "nobody knows")
			}
			require.Equal(t, puts, w.puts, "it stays as it is, and gets no younger")
			require.Equal(t, content, w.raw())
			w.now = when.Add(time.Minute)
			require.Equal(t, state.Taken{Held: true, Unclean: true}, w.take("me"))
			w.requireLease("me", false)
			require.False(t, w.owed())
		})
	}
}

func TestOwed(t *testing.T) {
	held := func(w *leaseWorld) { w.take("other") }
	for name, c := range map[string]struct {
		before func(w *leaseWorld)
		age    time.Duration
		want   bool
	}{
		"there is none":      {func(*leaseWorld) {}, 0, false},
		"free":               {func(w *leaseWorld) { w.take("other"); w.release("other") }, time.Hour, false},
		"free and rung":      {func(w *leaseWorld) { w.take("other"); w.abandon("other") }, 0, true},
		"held":               {held, 0, false},
		"held, just in time": {held, 25 * time.Second, false},
		"held, late":         {held, 25*time.Second + 1, true},
		"held, expired":      {held, time.Hour, true},
		"held and rung":      {func(w *leaseWorld) { w.take("other"); w.take("third") }, 0, true},
		"answered the bell":  {func(w *leaseWorld) { w.take("other"); w.take("third"); w.release("other") }, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLeaseWorld(t)
			c.before(w)
			w.pass(c.age)
			puts := w.puts
			require.Equal(t, c.want, w.owed())
			require.Equal(t, puts, w.puts)
		})
	}
}

// TestManyTakersAtOnce lets all of them read the same lease before one writes.
func TestManyTakersAtOnce(t *testing.T) {
	const takers = 32
	for name, before := range map[string]func(w *leaseWorld){
		"there is none": func(*leaseWorld) {},
		"free":          func(w *leaseWorld) { w.take("old"); w.release("old") },
		"expired":       func(w *leaseWorld) { w.take("old"); w.pass(time.Minute) },
		"garbage":       func(w *leaseWorld) { w.write("garbage"); w.pass(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newLeaseWorld(t)
			before(w)
			var reads atomic.Int64
			var together, done sync.WaitGroup
			together.Add(takers)
			w.bucket.Fault = func(op membucket.Op, _ string, after bool) error {
				if op == membucket.Open && !after && reads.Add(1) <= takers {
					together.Done()
					together.Wait()
				}
				return nil
			}
			taken, errs := make([]state.Taken, takers), make([]error, takers)
			for i := range takers {
				done.Go(func() { taken[i], errs[i] = w.TakeLease(t.Context(), fmt.Sprint("run-", i)) })
			}
			done.Wait()
			holder := ""
			for i := range takers {
				require.NoError(t, errs[i])
				require.False(t, taken[i].Late)
				if taken[i].Held {
					require.Empty(t, holder, "one holds it")
					holder = fmt.Sprint("run-", i)
				}
			}
			w.requireLease(holder, true)
			require.True(t, w.release(holder))
			require.False(t, w.release(holder))
		})
	}
}

// leaseActs are all that can be done with a lease, each from a state in which it writes; done looks at what it left.
var leaseActs = map[string]struct {
	before, act, done func(w *leaseWorld) error
}{
	"take": {
		func(*leaseWorld) error { return nil },
		func(w *leaseWorld) error { t, err := w.TakeLease(w.t.Context(), "me"); return isTrue(t.Held, err) },
		func(w *leaseWorld) error { return isTrue(w.lease().Holder == "me", nil) },
	},
	"ring": {
		func(w *leaseWorld) error { w.take("other"); return nil },
		func(w *leaseWorld) error { t, err := w.TakeLease(w.t.Context(), "me"); return isTrue(!t.Held, err) },
		func(w *leaseWorld) error { return isTrue(w.lease().Holder == "other" && w.lease().Again, nil) },
	},
	"renew": {
		func(w *leaseWorld) error { w.take("me"); w.pass(time.Minute); return nil },
		func(w *leaseWorld) error { return w.RenewLease(w.t.Context(), "me") },
		func(w *leaseWorld) error { return isTrue(!w.take("other").Held, nil) },
	},
	"release": {
		func(w *leaseWorld) error { w.take("me"); return nil },
		func(w *leaseWorld) error {
			again, err := w.ReleaseLease(w.t.Context(), "me")
			return isTrue(!again, err)
		},
		func(w *leaseWorld) error { return isTrue(w.lease().Holder == "", nil) },
	},
	"answer the bell": {
		func(w *leaseWorld) error { w.take("me"); w.take("other"); return nil },
		func(w *leaseWorld) error {
			again, err := w.ReleaseLease(w.t.Context(), "me")
			return isTrue(again, err)
		},
		func(w *leaseWorld) error { return isTrue(w.lease().Holder == "me" && !w.lease().Again, nil) },
	},
	"abandon": {
		func(w *leaseWorld) error { w.take("me"); return nil },
		func(w *leaseWorld) error { return w.AbandonLease(w.t.Context(), "me") },
		func(w *leaseWorld) error { return isTrue(w.lease().Holder == "" && w.lease().Again, nil) },
	},
}

func isTrue(ok bool, err error) error {
	if err == nil && !ok {
		return errors.New("it is not so")
	}
	return err
}

func TestLeaseAnswersThatAreLost(t *testing.T) {
	errLost := errors.New("connection reset")
	for name, c := range leaseActs {
		prepared := func(t *testing.T) *leaseWorld {
			w := newLeaseWorld(t)
			require.NoError(t, c.before(w))
			return w
		}
		strike := func(w *leaseWorld, effect bool) {
			w.bucket.Fault = func(op membucket.Op, _ string, after bool) error {
				if op == membucket.Put && after == effect {
					return errLost
				}
				return nil
			}
		}
		t.Run(name+", before it took effect", func(t *testing.T) {
			w := prepared(t)
			strike(w, false)
			require.ErrorIs(t, c.act(w), errLost)
			w.bucket.Fault = nil
			require.NoError(t, c.act(w))
			require.NoError(t, c.done(w))
		})
		t.Run(name+", after it took effect", func(t *testing.T) {
			w := prepared(t)
			strike(w, true)
			require.NoError(t, c.act(w))
			w.bucket.Fault = nil
			require.NoError(t, c.done(w))
		})
		t.Run(name+", repeated underneath", func(t *testing.T) {
			w := prepared(t)
			w.Store = state.NewStore(lostThenRefused{w.bucket}, "", "prod")
			require.NoError(t, c.act(w))
			w.Store = state.NewStore(w.bucket, "", "prod")
			require.NoError(t, c.done(w))
		})
	}
}

func TestARingBetweenALostAnswerAndItsCheckIsHeard(t *testing.T) {
	w := newLeaseWorld(t)
	w.take("me")
	other := state.NewStore(w.bucket, "", "prod")
	w.Store = state.NewStore(ringing{lostThenRefused{w.bucket}, func() {
		_, err := other.TakeLease(t.Context(), "other")
		require.NoError(t, err)
	}}, "", "prod")
	require.NoError(t, w.RenewLease(t.Context(), "me"))
	w.Store = other
	require.True(t, w.release("me"))
}

// ringing rings after each write that took effect and whose answer was lost.
type ringing struct {
	lostThenRefused
	ring func()
}

func (b ringing) Put(ctx context.Context, key string, body io.Reader, when bucket.Condition) (string, error) {
	version, err := b.lostThenRefused.Put(ctx, key, body, when)
	b.ring()
	return version, err
}

// refusing is a bucket in which somebody else is always faster.
type refusing struct{ *membucket.Bucket }

func (refusing) Put(context.Context, string, io.Reader, bucket.Condition) (string, error) {
	return "", bucket.ErrChanged
}

func TestALeaseThatOthersKeepOnWriting(t *testing.T) {
	s := state.NewStore(refusing{membucket.New("state")}, "", "prod")
	_, err := s.TakeLease(t.Context(), "me")
	require.ErrorContains(t, err, "writing the lease mem://state/prod/lease.json: others wrote it at the same moment, 30 times in a row")
}

func TestALeaseThatCannotBeRead(t *testing.T) {
	w := newLeaseWorld(t)
	w.bucket.Fault = func(membucket.Op, string, bool) error { return bucket.ErrDenied }
	for name, act := range map[string]func() error{
		"take":    func() error { _, err := w.TakeLease(t.Context(), "me"); return err },
		"renew":   func() error { return w.RenewLease(t.Context(), "me") },
		"release": func() error { _, err := w.ReleaseLease(t.Context(), "me"); return err },
		"abandon": func() error { return w.AbandonLease(t.Context(), "me") },
		"owed":    func() error { _, err := w.Owed(t.Context()); return err },
	} {
		err := act()
		require.ErrorIs(t, err, bucket.ErrDenied, name)
		require.NotErrorIs(t, err, state.ErrLeaseLost, name)
		require.ErrorContains(t, err, "reading the lease: mem://state: open prod/lease.json", name)
	}
}

// TestABellWhoseAnswerIsLost: the release cleared the bell, its answer was lost, and so was the look whether it took effect.
func TestABellWhoseAnswerIsLost(t *testing.T) {
	b := membucket.New("state")
	s := state.NewStore(b, "", "prod")
	for _, run := range []string{"me", "other"} {
		_, err := s.TakeLease(t.Context(), run)
		require.NoError(t, err)
	}
	puts, opens := 0, 0
	b.Fault = func(op membucket.Op, _ string, after bool) error {
		if op == membucket.Put && after {
			if puts++; puts == 1 {
				return bucket.ErrChanged // the SDK repeated it
			}
		}
		if op == membucket.Open && !after && puts == 1 {
			if opens++; opens == 1 {
				return errors.New("a passing fault")
			}
		}
		return nil
	}
	again, err := s.ReleaseLease(t.Context(), "me")
	require.NoError(t, err)
	require.True(t, again)
}
