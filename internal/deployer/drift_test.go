package deployer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

// deployElsewhere makes what somebody did in Astro the newest deploy.
func (w *world) deployElsewhere(d deployer.Deploy) {
	w.astro.desired = d.TarballVersion
	w.astro.deploys = slices.Insert(w.astro.deploys, 0, d)
}

// failNewest lets Astro end the newest deploy FAILED.
func (w *world) failNewest() {
	d := &w.astro.deploys[0]
	d.Failed, d.Finished = true, false
}

// twoDeploys is a world in which version-1 is superseded by version-2.
func twoDeploys(t testing.TB) *world {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/1.py", "one")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.requireOutcome(deployer.Unchanged, w.sync()) // Astro was seen to run it
	return w
}

func TestDrift(t *testing.T) {
	const heal, redeploy, report = deployer.Heal, deployer.Redeploy, deployer.Report
	all := []string{"", heal, redeploy, report}
	for name, c := range map[string]struct {
		drift  func(w *world)
		reason string
		answer []string // the settings that deploy again
	}{
		"a superseded deploy of ours": {func(w *world) { w.astro.desired = "version-1" }, "", all},
		"an image deploy without DAGs of ours": {
			func(w *world) { w.deployElsewhere(deployer.Deploy{ID: "image", Image: true, Finished: true}) },
			"an image deploy (image) replaced what was deployed here", []string{"", heal, redeploy},
		},
		"an image deploy with its DAGs": {
			func(w *world) {
				w.deployElsewhere(deployer.Deploy{ID: "image", Image: true, Finished: true, TarballVersion: "of the image"})
			},
			"an image deploy (image) replaced what was deployed here", []string{"", heal, redeploy},
		},
		"somebody's DAG-only deploy": {
			func(w *world) { w.foreign("theirs") }, "a DAG-only deploy from elsewhere (id of theirs) replaced what was deployed here", []string{redeploy},
		},
		"another route's deploy": {
			func(w *world) {
				w.deployElsewhere(deployer.Deploy{ID: "x", Finished: true, TarballVersion: "x", Description: "dagbucket/other/" +
					w.record().Live.Digest + " run run-0001: 1 files"})
			}, "a DAG-only deploy from elsewhere (x) replaced what was deployed here", []string{redeploy},
		},
		"a deploy that nobody lists": {
			func(w *world) { w.astro.desired = "ghost" }, "a DAG-only deploy from elsewhere (ghost) replaced what was deployed here", []string{redeploy},
		},
		"no DAGs any more": {
			func(w *world) { w.astro.desired = "" }, "a DAG-only deploy from elsewhere (none) replaced what was deployed here", []string{redeploy},
		},
		"a rollback to a deploy of ours": {
			func(w *world) {
				w.deployElsewhere(deployer.Deploy{ID: "back", Rollback: true, Finished: true, TarballVersion: "version-1"})
			}, "a rollback in Astro (back) replaced what was deployed here", []string{redeploy},
		},
		"a rollback to somebody's": {
			func(w *world) {
				w.deployElsewhere(deployer.Deploy{ID: "back", Rollback: true, Finished: true, TarballVersion: "x"})
			},
			"a rollback in Astro (back) replaced what was deployed here", []string{redeploy},
		},
		"a rollback that carries our description": {
			func(w *world) {
				w.deployElsewhere(deployer.Deploy{ID: "back", Rollback: true, Finished: true, TarballVersion: "version-1",
					Description: w.astro.deploys[1].Description})
			}, "a rollback in Astro (back) replaced what was deployed here", []string{redeploy},
		},
	} {
		for _, setting := range all {
			t.Run(fmt.Sprintf("%s, on_drift %q", name, setting), func(t *testing.T) {
				w := twoDeploys(t)
				w.route.OnDrift = setting
				c.drift(w)
				theirs := w.astro.desired
				if slices.Contains(c.answer, setting) {
					require.Contains(t, w.requireOutcome(deployer.Deployed, w.sync()).Reason, c.reason)
					require.Equal(t, w.shown(), w.live())
					require.Empty(t, w.requireOutcome(deployer.Unchanged, w.sync()).Reason)
					return
				}
				for range 2 {
					r := w.requireOutcome(deployer.Unchanged, w.sync())
					require.Equal(t, c.reason+"; it stays until the bucket changes", r.Reason)
					require.Equal(t, theirs, w.astro.desired)
				}
				w.put("dags/2.py", "2")
				require.Contains(t, w.requireOutcome(deployer.Deployed, w.sync()).Reason, c.reason)
				require.Equal(t, w.shown(), w.live())
				require.Empty(t, w.requireOutcome(deployer.Unchanged, w.sync()).Reason)
			})
		}
	}
}

func TestAForeignDeployIsAnsweredOnce(t *testing.T) {
	image := deployer.Deploy{ID: "image", Image: true, Finished: true, TarballVersion: "of the image"}
	for name, c := range map[string]struct {
		setting string
		theirs  deployer.Deploy
	}{
		"a DAG-only deploy": {deployer.Redeploy, deployer.Deploy{ID: "by hand", Finished: true, TarballVersion: "theirs"}},
		"a rollback":        {deployer.Redeploy, deployer.Deploy{ID: "back", Finished: true, TarballVersion: "version-1", Rollback: true}},
		"an image deploy":   {deployer.Heal, image},
	} {
		t.Run(name, func(t *testing.T) {
			w := twoDeploys(t)
			w.route.OnDrift = c.setting
			w.deployElsewhere(c.theirs)
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, []string{c.theirs.ID}, w.record().Answered)
			w.astro.desired = c.theirs.TarballVersion // it comes back
			for range 2 {
				r := w.requireOutcome(deployer.Unchanged, w.sync())
				require.Contains(t, r.Reason, "it was deployed over once, and now stays until the bucket changes")
			}
			require.Len(t, w.astro.finalized, 3)

			again := c.theirs
			again.ID = "another"
			w.deployElsewhere(again)
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, w.shown(), w.live())
			w.astro.desired = c.theirs.TarballVersion
			w.put("dags/2.py", "2")
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func TestAnAnswerThatFailsIsGivenAgain(t *testing.T) {
	for _, call := range []string{"create", "upload"} {
		w := twoDeploys(t)
		w.route.OnDrift = deployer.Redeploy
		w.foreign("theirs")
		w.astro.fault = failing(call)
		w.requireOutcome(deployer.Failed, w.sync())
		w.astro.fault = nil
		require.Empty(t, w.record().Answered)
		w.requireOutcome(deployer.Deployed, w.sync())
		require.Equal(t, w.shown(), w.live())
	}
}

func TestAnAnswerThatWasNeverFinalizedIsGivenAgain(t *testing.T) {
	w := twoDeploys(t)
	w.deployElsewhere(deployer.Deploy{ID: "image", Image: true, Finished: true, TarballVersion: "of the image"})
	w.astro.fault = func(call string, after bool) error {
		if call == "finalize" && !after {
			return errKilled
		}
		return nil
	}
	w.requireOutcome(deployer.Failed, w.sync())
	w.astro.fault = nil
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
	require.Equal(t, []string{"image"}, w.record().Answered)
}

func TestASupersededDeployIsAlwaysDeployedOver(t *testing.T) {
	for _, setting := range []string{deployer.Heal, deployer.Redeploy, deployer.Report} {
		w := twoDeploys(t)
		w.route.OnDrift = setting
		for range 3 {
			w.astro.desired = "version-1"
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, w.shown(), w.live())
		}
	}
}

func TestAFailedDeployIsTriedAgainWithBackOff(t *testing.T) {
	for name, desired := range map[string]func(w *world, before string){
		"Astro goes on wanting it":     func(*world, string) {},
		"Astro goes back to the other": func(w *world, before string) { w.astro.desired = before },
	} {
		for _, wrong := range []time.Duration{0, 24 * time.Hour, -24 * time.Hour} {
			t.Run(fmt.Sprint(name, ", local clock wrong by ", wrong), func(t *testing.T) {
				w := twoDeploys(t)
				w.route.Clock = skewedClock{w.clock, wrong}
				w.put("dags/1.py", "two")
				w.requireOutcome(deployer.Deployed, w.sync())
				fail := func() { w.failNewest(); desired(w, "version-2") }
				fail()
				require.Contains(t, w.requireOutcome(deployer.Deployed, w.event()).Reason, "ended FAILED at Astro; deploying again", "at once")
				for i, pause := range []time.Duration{5, 10, 20, 40, 80, 160, 240, 240} {
					fail()
					tried := w.record().Failed.At
					w.clock.advance(pause*time.Minute - 1)
					r := w.requireOutcome(deployer.Unchanged, w.event())
					require.Contains(t, r.Reason, fmt.Sprintf("the %d. in a row", i+2))
					require.Contains(t, r.Reason, tried.Add(pause*time.Minute).Format(time.RFC3339))
					w.clock.advance(1)
					w.requireOutcome(deployer.Deployed, w.event())
					require.Equal(t, i+2, w.record().Failed.Tries)
				}

				w.requireOutcome(deployer.Unchanged, w.event())
				require.True(t, w.record().Live.Confirmed, "it runs")
				require.Nil(t, w.record().Failed)
				w.put("dags/1.py", "three")
				w.requireOutcome(deployer.Deployed, w.sync())
				fail()
				w.requireOutcome(deployer.Deployed, w.event())
				require.Equal(t, 1, w.record().Failed.Tries, "it begins anew")
			})
		}
	}
}

func TestAChangeDoesNotWaitForTheBackOff(t *testing.T) {
	w := twoDeploys(t)
	w.put("dags/1.py", "broken")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.failNewest()
	w.requireOutcome(deployer.Deployed, w.event())
	w.failNewest()
	w.requireOutcome(deployer.Unchanged, w.event())
	w.put("dags/1.py", "mended")
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Nil(t, w.record().Failed)
}

func TestADeployThatIsSlowIsNoFailure(t *testing.T) {
	w := newWorld(t)
	w.put("dags/1.py", "1")
	w.astro.slow = true
	w.requireOutcome(deployer.Deployed, w.sync())
	for range 3 {
		w.requireOutcome(deployer.Unchanged, w.sync())
		require.False(t, w.record().Live.Confirmed)
	}
	w.astro.slow = false
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.True(t, w.record().Live.Confirmed)
	calls := 0
	w.astro.before = func(call string) {
		if call == "deploys" {
			calls++
		}
	}
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Zero(t, calls, "what was seen to run is not asked for again")
}

// TestAnOldCopyOfTheRecord is a state bucket that was restored from a backup.
func TestAnOldCopyOfTheRecord(t *testing.T) {
	for _, setting := range []string{deployer.Heal, deployer.Redeploy, deployer.Report} {
		t.Run(setting, func(t *testing.T) {
			w := newWorld(t)
			w.route.OnDrift = setting
			w.put("dags/1.py", "1")
			w.put("dags/2.py", "2")
			w.requireOutcome(deployer.Deployed, w.sync())
			old, _, err := bucket.Read(context.Background(), w.states, "prod/record.json", "", 1<<20)
			require.NoError(t, err)
			w.put("dags/3.py", "3")
			newest := w.requireOutcome(deployer.Deployed, w.sync())
			w.overwrite("prod/record.json", func([]byte) []byte { return old })

			r := w.requireOutcome(deployer.Unchanged, w.sync())
			require.Equal(t, newest.DeployID, r.DeployID)
			require.Equal(t, 3, w.record().Live.Files)
			require.Equal(t, []string{"version-1"}, w.record().Superseded, "and must not come back")
			require.Len(t, w.astro.finalized, 2)
			w.delete("dags/3.py")
			require.Equal(t, []string{"dags/3.py"}, w.requireOutcome(deployer.Deployed, w.sync()).Removed)

			w.astro.desired = "version-1"
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func TestStatusTellsOfDrift(t *testing.T) {
	w := twoDeploys(t)
	w.foreign("theirs")
	s, err := w.route.Status(context.Background())
	require.NoError(t, err)
	require.False(t, s.Deployment.InSync)
	require.Contains(t, s.Drift, "a DAG-only deploy from elsewhere (id of theirs)")
	require.Contains(t, w.requireOutcome(deployer.Unchanged, w.route.Plan(context.Background())).Reason, "id of theirs")
	require.Equal(t, "theirs", w.astro.desired)
}

func TestAFailedFirstDeploy(t *testing.T) {
	for name, before := range map[string]string{"nothing before": "", "somebody's before": "theirs"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("dags/1.py", "1")
			if before != "" {
				w.foreign(before)
				w.route.ReplaceExisting = true
			}
			w.requireOutcome(deployer.Deployed, w.sync())
			w.failNewest()
			w.astro.desired = before // Astro goes back
			w.requireOutcome(deployer.Deployed, w.sync())
			require.Equal(t, w.shown(), w.live())
		})
	}
}

func TestAFinalizeThatFailsForGoodIsNotRepeatedEveryMinute(t *testing.T) {
	w := withDAGs(t, 1)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.put("dags/new.py", "refused")
	w.astro.fault = func(call string, after bool) error {
		if call == "finalize" && !after {
			w.astro.deploys[0].Failed = true
			return errors.New("the deploy has failed")
		}
		return nil
	}
	before := len(w.astro.deploys)
	w.requireOutcome(deployer.Failed, w.sync())
	w.requireOutcome(deployer.Failed, w.sync())
	r := w.requireOutcome(deployer.Held, w.sync())
	require.Contains(t, r.Reason, "of the same files ended FAILED at Astro")
	for range 10 {
		w.sync()
	}
	require.LessOrEqual(t, len(w.astro.deploys)-before, 4, "in 13 minutes")

	w.put("dags/new.py", "repaired")
	w.astro.fault = nil
	w.requireOutcome(deployer.Deployed, w.sync())
}

func TestARecordWithAStrangeCountOfFailures(t *testing.T) {
	for _, tries := range []int{-1, 0, 1 << 40} {
		w := withDAGs(t, 1)
		w.failNewest()
		w.overwrite("prod/record.json", func(content []byte) []byte {
			var record map[string]any
			require.NoError(t, json.Unmarshal(content, &record))
			record["failed"] = map[string]any{"tries": tries, "at": epoch}
			content, err := json.Marshal(record)
			require.NoError(t, err)
			return content
		})
		w.sync()
	}
}
