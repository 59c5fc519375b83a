package simulation

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
)

// disturb starts everybody else.
func (w *world) disturb() {
	start := func(on bool, name string, every time.Duration, do func()) {
		if !on {
			return
		}
		go func() {
			for {
				select {
				case <-time.After(between(w.roll(name), time.Second, 2*every)):
				case <-w.stop:
					return
				}
				end := w.begin()
				do()
				end()
			}
		}()
	}
	var snapshot map[string][]byte
	start(w.p.strangers, "strangers", 4*time.Minute, w.strangerActs)
	start(w.p.losses, "losses", 6*time.Minute, func() { snapshot = w.loseState(snapshot) })
	start(w.p.retarget, "retarget", 6*time.Minute, w.changeTarget)
	start(w.p.people, "approver", 3*time.Minute, func() { w.fault(); w.approve() })
	start(w.p.people, "pauser", 5*time.Minute, w.pause)
	start(w.p.rollers, "roller", 4*time.Minute, w.rollSomeBack)
	start(w.p.notifies, "target", 3*time.Minute, w.loseTarget)
	start(w.p.broken, "checker", 10*time.Minute, w.loseChecker)
	start(w.p.broken && w.p.reconcile, "settings", 5*time.Minute, w.changeSettings) // without the schedule nothing would tell of it
}

func (w *world) pause() {
	admin := w.newAdmin()
	w.pausedAt = time.Now().Add(time.Hour) // until it is known when it took effect
	if err := admin.route().Pause(context.Background(), "lunch"); err != nil {
		w.log("pause: %v", err)
		return
	}
	w.pausedAt = time.Now()
	w.log("paused")
	w.fault()
	time.Sleep(between(w.roll("pause"), time.Second, 3*time.Minute))
	if err := admin.route().Resume(context.Background()); err != nil {
		w.log("resume: %v", err)
	}
	w.log("resumed")
}

// strangerActs deploys from elsewhere, goes back to an earlier deploy, or lets one of ours fail.
func (w *world) strangerActs() {
	r := w.roll("stranger")
	w.mu.Lock()
	deployment := w.deployment
	w.mu.Unlock()
	finalized := w.astro.Finalized(deployment)
	switch n := r.IntN(4); {
	case n < 2:
		kind := []string{"DAG_ONLY", "IMAGE_AND_DAG"}[n]
		contents := map[string]string{"dags/strange.py": fmt.Sprint(time.Since(w.began))}
		_, version := w.astro.DeployFromOutside(deployment, kind, "by hand", archive(contents))
		w.oracle.stranger(version, contents)
		w.log("a stranger deploys %s: %s", kind, version)
	case n == 2 && len(finalized) > 1:
		to := finalized[r.IntN(len(finalized)-1)]
		w.rollBack(deployment, to.DeployID)
		w.log("a stranger goes back to %s", to.Version)
	case n == 3 && len(finalized) > 0:
		last := finalized[len(finalized)-1]
		w.oracle.markFailed(last.Version)
		w.astro.FailDeploy(deployment, last.DeployID)
		w.log("Astro fails %s", last.Version)
	}
}

func (w *world) rollBack(deployment, deployID string) {
	url := "http://127.0.0.1/v1/organizations/clmg78a9d000008l7ek2m1a2b/deployments/" + deployment + "/deploys/" + deployID + "/rollback"
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"description":"back"}`))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := w.astro.Transport().RoundTrip(request)
	if err != nil {
		panic(err)
	}
	_ = response.Body.Close()
}

func archive(contents map[string]string) []byte {
	var buffer bytes.Buffer
	out := bundle.NewWriter(&buffer)
	for path, content := range contents {
		if _, err := out.Add(bundle.Entry{Path: path, Size: int64(len(content))}, strings.NewReader(content)); err != nil {
			panic(err)
		}
	}
	if err := out.Close(); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

// loseState loses the record, the whole state, or everything since a snapshot.
func (w *world) loseState(snapshot map[string][]byte) map[string][]byte {
	ctx := context.Background()
	read := func() map[string][]byte {
		all := map[string][]byte{}
		for _, o := range w.states.Snapshot("") {
			all[o.Key], _, _ = bucket.Read(ctx, w.states, o.Key, "", 1<<30)
		}
		return all
	}
	remove := func(prefix string) {
		for _, o := range w.states.Snapshot(prefix) {
			if err := w.states.Delete(ctx, o.Key, ""); err != nil {
				panic(err)
			}
		}
	}
	switch r := w.roll("loss"); r.IntN(4) {
	case 0:
		w.log("the record is lost")
		remove("sim/record.json")
	case 1:
		w.log("the state is lost")
		remove("")
	case 2:
		if snapshot == nil {
			return read()
		}
		w.log("the state goes back to a snapshot")
		remove("")
		for key, content := range snapshot {
			if _, err := w.states.Put(ctx, key, bytes.NewReader(content), bucket.Always); err != nil {
				panic(err)
			}
		}
	default:
		return read()
	}
	w.oracle.disturb()
	return snapshot
}

func (w *world) changeTarget() {
	w.mu.Lock()
	if w.deployment == deployments[0] {
		w.deployment = deployments[1]
	} else {
		w.deployment = deployments[0]
	}
	w.mu.Unlock()
	w.log("the configuration names Deployment %s", w.deployment)
	w.oracle.disturb()
}
