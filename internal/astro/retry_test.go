package astro_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// TestRepeats: each call is repeated over what may pass, in all its flavours.
func TestRepeats(t *testing.T) {
	actions := map[astrotest.Call]func(t *testing.T, w *world) error{
		astrotest.GetDeployment: func(t *testing.T, w *world) error { _, err := w.Deployment(t.Context()); return err },
		astrotest.ListDeploys:   func(t *testing.T, w *world) error { _, err := w.Deploys(t.Context(), 1); return err },
		astrotest.CreateDeploy:  func(t *testing.T, w *world) error { _, err := w.CreateDeploy(t.Context(), ""); return err },
		astrotest.Upload: func(t *testing.T, w *world) error {
			d, err := w.CreateDeploy(t.Context(), "")
			require.NoError(t, err)
			_, err = w.Upload(t.Context(), d, opens(archive), int64(len(archive)))
			return err
		},
	}
	faults := map[string]astrotest.Fault{
		"500":             {Status: 500},
		"502 HTML":        {Status: 502, Body: "<html>", Header: http.Header{"Content-Type": {"text/html"}}},
		"503":             {Status: 503},
		"429":             {Status: 429},
		"408":             {Status: 408},
		"cut off":         {CutOff: true},
		"hangs":           {Hang: true},
		"500 after":       {Status: 500, TakesEffect: true},
		"cut off after":   {CutOff: true, TakesEffect: true},
		"hangs after":     {Hang: true, TakesEffect: true},
		"garbled success": {Status: 200, Body: "{", TakesEffect: true},
	}
	for call, act := range actions {
		for name, fault := range faults {
			if call == astrotest.Upload && name == "garbled success" {
				continue // the storage's answer has no body to garble
			}
			t.Run(string(call)+" "+name, func(t *testing.T) {
				inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
					fault.Call, fault.Times = call, 2
					w.server.Inject(fault)
					require.NoError(t, act(t, w))
					require.Equal(t, 3, w.calls(call))
				})
			})
			t.Run(string(call)+" "+name+" for ever", func(t *testing.T) {
				inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
					fault.Call, fault.Times = call, -1
					w.server.Inject(fault)
					err := act(t, w)
					require.ErrorContains(t, err, "tried 5 times")
					require.False(t, failure(t, err).Permanent())
					require.Equal(t, 5, w.calls(call))
				})
			})
		}
	}
}

func TestNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			calls++
			return nil, refused
		})})
		err := w.Finalize(t.Context(), "clv1", "v")
		require.ErrorIs(t, err, refused)
		require.ErrorContains(t, err, "connection refused")
		require.False(t, failure(t, err).Permanent())
		require.Equal(t, 5, calls, "no reading in between: the finalize surely had no effect")
	})
}

func TestPausesGrow(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		w.server.Inject(astrotest.Fault{Call: astrotest.GetDeployment, Times: -1})
		start := time.Now()
		_, err := w.Deployment(t.Context())
		require.Error(t, err)
		// 0.5, 1, 2 and 4 seconds, each spread by a half.
		require.GreaterOrEqual(t, time.Since(start), 3750*time.Millisecond)
		require.LessOrEqual(t, time.Since(start), 11250*time.Millisecond+time.Millisecond)
	})
}

func TestRetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		header  func() http.Header
		waits   time.Duration // at least; at most a second and a half more
		givesUp bool
	}{
		"seconds":       {func() http.Header { return http.Header{"Retry-After": {"17"}} }, 17 * time.Second, false},
		"zero":          {func() http.Header { return http.Header{"Retry-After": {"0"}} }, 0, false},
		"negative":      {func() http.Header { return http.Header{"Retry-After": {"-5"}} }, 0, false},
		"nonsense":      {func() http.Header { return http.Header{"Retry-After": {"soon"}} }, 0, false},
		"date by clock": {func() http.Header { return http.Header{"Retry-After": {httpTime(40 * time.Second)}} }, 40 * time.Second, false},
		"date in past":  {func() http.Header { return http.Header{"Retry-After": {httpTime(-time.Hour)}} }, 0, false},
		"date by server": {func() http.Header {
			return http.Header{"Retry-After": {httpTime(time.Hour + 9*time.Second)}, "Date": {httpTime(time.Hour)}}
		}, 9 * time.Second, false},
		"an hour": {func() http.Header { return http.Header{"Retry-After": {"3600"}} }, 0, true},
		"ages":    {func() http.Header { return http.Header{"Retry-After": {"2147483647"}} }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, status := range []int{429, 503} {
				inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
					w.server.Inject(astrotest.Fault{Call: astrotest.CreateDeploy, Status: status, Header: test.header()})
					start := time.Now()
					_, err := w.CreateDeploy(t.Context(), "")
					if test.givesUp {
						require.ErrorContains(t, err, "too late for this run")
						require.False(t, failure(t, err).Permanent())
						require.Zero(t, time.Since(start))
						return
					}
					require.NoError(t, err)
					require.GreaterOrEqual(t, time.Since(start), test.waits)
					require.Less(t, time.Since(start), test.waits+1500*time.Millisecond)
				})
			}
		})
	}
}

func httpTime(fromNow time.Duration) string {
	return time.Now().Add(fromNow).UTC().Format(http.TimeFormat)
}

// TestDeadline: no pause is begun that the run's time does not cover, and no call outlives ctx.
func TestDeadline(t *testing.T) {
	t.Run("during a pause", func(t *testing.T) {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			w.server.Inject(astrotest.Fault{Call: astrotest.GetDeployment, Status: 429, Times: -1, Header: http.Header{"Retry-After": {"60"}}})
			ctx, cancel := context.WithTimeout(t.Context(), 59*time.Second)
			defer cancel()
			start := time.Now()
			_, err := w.Deployment(ctx)
			require.ErrorContains(t, err, "429")
			require.Zero(t, time.Since(start))
		})
	})
	t.Run("during a call", func(t *testing.T) {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			w.server.Inject(astrotest.Fault{Call: astrotest.GetDeployment, Hang: true, Times: -1})
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			start := time.Now()
			_, err := w.Deployment(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, 7*time.Second, time.Since(start))
			require.Equal(t, 1, w.calls(astrotest.GetDeployment))
		})
	})
	t.Run("cancelled in a pause", func(t *testing.T) {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			w.server.Inject(astrotest.Fault{Call: astrotest.GetDeployment, Status: 429, Times: -1, Header: http.Header{"Retry-After": {"60"}}})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(9*time.Second, cancel)
			start := time.Now()
			_, err := w.Deployment(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, 9*time.Second, time.Since(start))
		})
	})
}

// TestLostFinalize: however the answer is lost, the finalize takes effect exactly as often as it must.
func TestLostFinalize(t *testing.T) {
	type want struct{ finalizes, effects int }
	flavours := map[string]struct {
		fault astrotest.Fault
		want  want
	}{
		"500 before":          {astrotest.Fault{Status: 500}, want{2, 1}},
		"cut off before":      {astrotest.Fault{CutOff: true}, want{2, 1}},
		"hangs before":        {astrotest.Fault{Hang: true}, want{2, 1}},
		"500 after":           {astrotest.Fault{Status: 500, TakesEffect: true}, want{1, 1}},
		"cut off after":       {astrotest.Fault{CutOff: true, TakesEffect: true}, want{1, 1}},
		"hangs after":         {astrotest.Fault{Hang: true, TakesEffect: true}, want{1, 1}},
		"HTML after":          {astrotest.Fault{Status: 200, Body: "<html>", TakesEffect: true}, want{1, 1}},
		"another one's after": {astrotest.Fault{Status: 200, Body: `{"id":"clv2"}`, TakesEffect: true}, want{1, 1}},
		"cut JSON after":      {astrotest.Fault{Status: 200, Body: `{"id":`, TakesEffect: true}, want{1, 1}},
		"400 after":           {astrotest.Fault{Status: 400, Message: "already finalized", TakesEffect: true}, want{1, 1}},
		"409 after":           {astrotest.Fault{Status: 409, TakesEffect: true}, want{1, 1}},
		"429 before":          {astrotest.Fault{Status: 429}, want{2, 1}},
	}
	for name, test := range flavours {
		t.Run(name, func(t *testing.T) {
			inBubble(t, astrotest.Options{LiveAfter: time.Minute}, func(t *testing.T, w *world) {
				d, version := w.uploaded(t)
				test.fault.Call = astrotest.Finalize
				w.server.Inject(test.fault)
				require.NoError(t, w.Finalize(t.Context(), d.ID, version))
				require.Equal(t, test.want, want{w.calls(astrotest.Finalize), len(w.server.Finalized(deploymentID))})
				_, desired := w.server.Versions(deploymentID)
				require.Equal(t, version, desired)
			})
		})
	}
}

// TestFinalizeWithoutTimeToFindOut: when the time runs out before the answer, there is nothing to tell but that.
func TestFinalizeWithoutTimeToFindOut(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		d, version := w.uploaded(t)
		w.server.Inject(astrotest.Fault{Call: astrotest.Finalize, Hang: true, TakesEffect: true})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := w.Finalize(ctx, d.ID, version)
		require.EqualError(t, err, "astro: finalize deploy "+d.ID+": it is not known whether it took effect; the next run finds out")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, failure(t, err).Permanent())
	})
}

// TestFinalizeShownByTheDeploymentOnly: no document says when the deploy itself shows that it was finalized.
func TestFinalizeShownByTheDeploymentOnly(t *testing.T) {
	inBubble(t, astrotest.Options{LiveAfter: time.Minute}, func(t *testing.T, w *world) {
		d, version := w.uploaded(t)
		w.server.Inject(astrotest.Fault{Call: astrotest.Finalize, TakesEffect: true})
		w.server.Inject(astrotest.Fault{Call: astrotest.GetDeploy, Times: -1, Status: 200, Body: `{"id":"` + d.ID + `","status":"INITIALIZED"}`})
		require.NoError(t, w.Finalize(t.Context(), d.ID, version))
		require.Equal(t, 1, w.calls(astrotest.Finalize))
	})
}

// TestRefusedFinalize: what surely had no effect is not read about.
func TestRefusedFinalize(t *testing.T) {
	for status, finalizes := range map[int]int{401: 1, 403: 1, 429: 2} {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			d, version := w.uploaded(t)
			w.server.Inject(astrotest.Fault{Call: astrotest.Finalize, Status: status})
			err := w.Finalize(t.Context(), d.ID, version)
			require.Equal(t, status != 429, err != nil && failure(t, err).Permanent())
			require.Equal(t, finalizes, w.calls(astrotest.Finalize))
			require.Zero(t, w.calls(astrotest.GetDeploy)+w.calls(astrotest.GetDeployment))
		})
	}
}

// TestOvertakenFinalize: a finalize whose answer was lost is not repeated over somebody's later deploy.
func TestOvertakenFinalize(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		d, version := w.uploaded(t)
		w.server.Inject(astrotest.Fault{Call: astrotest.Finalize, Hang: true, TakesEffect: true})
		later := make(chan string, 1)
		time.AfterFunc(30*time.Second, func() {
			_, version := w.server.DeployFromOutside(deploymentID, "DAG_ONLY", "later", archive)
			later <- version
		})
		require.NoError(t, w.Finalize(t.Context(), d.ID, version))
		_, desired := w.server.Versions(deploymentID)
		require.Equal(t, <-later, desired)
		require.Equal(t, 1, w.calls(astrotest.Finalize))
	})
}

// TestUnclearFinalize: when reading fails, too, nothing is repeated, and the error leaves the outcome open.
func TestUnclearFinalize(t *testing.T) {
	for _, unreadable := range []astrotest.Call{astrotest.GetDeploy, astrotest.GetDeployment} {
		for _, status := range []int{500, 403} {
			inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
				d, version := w.uploaded(t)
				w.server.Inject(astrotest.Fault{Call: astrotest.Finalize})
				w.server.Inject(astrotest.Fault{Call: unreadable, Times: -1, Status: status})
				err := w.Finalize(t.Context(), d.ID, version)
				require.ErrorContains(t, err, "finalize deploy "+d.ID+": it is not known whether it took effect")
				require.False(t, failure(t, err).Permanent())
				require.Equal(t, 1, w.calls(astrotest.Finalize))
			})
		}
	}
}

// TestInterruptedFinalize: a run that ends in the middle says that it does not know.
func TestInterruptedFinalize(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		d, version := w.uploaded(t)
		w.server.Inject(astrotest.Fault{Call: astrotest.Finalize, Hang: true, TakesEffect: true})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		err := w.Finalize(ctx, d.ID, version)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "it is not known whether it took effect")
		require.False(t, failure(t, err).Permanent())
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

func TestFailedDeploy(t *testing.T) {
	t.Run("told in the answer", func(t *testing.T) {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			d, version := w.uploaded(t)
			w.server.Inject(astrotest.Fault{Call: astrotest.Finalize, Status: 200, Body: `{"id":"` + d.ID + `","status":"FAILED"}`})
			err := w.Finalize(t.Context(), d.ID, version)
			require.ErrorContains(t, err, "status FAILED")
			require.False(t, failure(t, err).Permanent())
			require.Equal(t, 1, w.calls(astrotest.Finalize))
		})
	})
	t.Run("found by reading", func(t *testing.T) {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			d, version := w.uploaded(t)
			w.server.FailDeploy(deploymentID, d.ID)
			err := w.Finalize(t.Context(), d.ID, version)
			require.ErrorContains(t, err, "status FAILED")
			require.False(t, failure(t, err).Permanent())
			require.Equal(t, 1, w.calls(astrotest.Finalize))
		})
	})
}

// TestCreateTwice: a lost answer of create leaves a deploy behind that changes nothing.
func TestCreateTwice(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		w.server.Inject(astrotest.Fault{Call: astrotest.CreateDeploy, CutOff: true, TakesEffect: true})
		d, version := w.uploaded(t)
		require.NoError(t, w.Finalize(t.Context(), d.ID, version))
		require.Equal(t, 2, w.server.Deploys(deploymentID))
		require.Len(t, w.server.Finalized(deploymentID), 1)
	})
}

func TestUploadOpensAgain(t *testing.T) {
	broken := errors.New("storage went away")
	for name, test := range map[string]struct {
		open      func(try int) (io.ReadCloser, error)
		says      string // "": it goes well
		tries     int
		permanent bool
	}{
		"a read that breaks once": {func(try int) (io.ReadCloser, error) {
			if try == 1 {
				return io.NopCloser(io.MultiReader(partOf(archive), failing{broken})), nil
			}
			return opens(archive)(nil)
		}, "", 2, false},
		"a read that always breaks": {func(int) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(partOf(archive), failing{broken})), nil
		}, "the stored bundle cannot be read (tried 5 times): storage went away", 5, false},
		"a read that is denied": {func(int) (io.ReadCloser, error) { return io.NopCloser(failing{&permanentError{}}), nil },
			"the stored bundle cannot be read: access denied", 1, true},
		"it does not open": {func(int) (io.ReadCloser, error) { return nil, broken }, "the stored bundle cannot be opened: storage went away", 1, false},
		"it must not be opened": {func(int) (io.ReadCloser, error) { return nil, &permanentError{} },
			"the stored bundle cannot be opened: access denied", 1, true},
		"it is too short": {func(int) (io.ReadCloser, error) { return io.NopCloser(partOf(archive)), nil }, "it ends after 10 of 1300 bytes", 5, false},
		"it is too long":  {func(int) (io.ReadCloser, error) { return opens(append(archive, 'x'))(nil) }, "it is longer than its 1300 bytes", 5, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
				d, err := w.CreateDeploy(t.Context(), "")
				require.NoError(t, err)
				tries := 0
				_, err = w.Upload(t.Context(), d, func(context.Context) (io.ReadCloser, error) { tries++; return test.open(tries) }, int64(len(archive)))
				require.Equal(t, test.tries, tries)
				if test.says == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, test.says)
				require.ErrorContains(t, err, "upload the DAG bundle of deploy "+d.ID)
				require.Equal(t, test.permanent, failure(t, err).Permanent())
			})
		})
	}
}

func partOf(content []byte) io.Reader { return io.LimitReader(newReader(content), 10) }
