package simulation

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
)

// Some worlds have a syntax check, files that are broken, and authors who repair them, or do not.
const (
	brokenText = "broken" // begins a content that no Python takes
	modernText = "modern" // begins one that a Python before modern takes for broken
	modern     = "3.13"

	ignoreKey = "dags/.airflowignore" // its lines are names of files
)

// runtimes are what a Deployment may run, with their Pythons. They read ignore files in three ways.
var runtimes = map[string]string{"3.1-1": "3.13", "3.0-1": "3.12", "13.1.0": "3.12"}

// isBroken is the verdict of a checker that works. Without a Python it is about the oldest.
func isBroken(content, python string) bool {
	return strings.HasPrefix(content, brokenText) || strings.HasPrefix(content, modernText) && python < modern
}

// simChecker is the syntax check in the process of one actor. It starts nothing.
type simChecker struct{ a *actor }

func (c simChecker) Load() error { return nil }

func (c simChecker) Check(ctx context.Context, source []byte, python string) ([]pysyntax.Diagnostic, error) {
	a, content := c.a, string(source)
	r := a.w.roll(a.name, "check", content)
	if err := a.pass(ctx, between(r, time.Millisecond, 300*time.Millisecond)); err != nil {
		return nil, err
	}
	a.w.mu.Lock()
	a.w.asked++
	down := a.w.uncheckable || !a.w.calm && r.IntN(100) == 0
	a.w.mu.Unlock()
	if down {
		a.w.log("%s has no verdict on %q", a.name, content)
		a.mu.Lock()
		a.spared[content] = true
		a.mu.Unlock()
		return nil, &pysyntax.UncheckedError{Err: errFault}
	}
	if isBroken(content, python) {
		return []pysyntax.Diagnostic{{Line: 1, Column: 1, Message: "invalid syntax"}}, nil
	}
	return nil, nil
}

// syntax is the setting of a source now.
func (s *source) syntax() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setting
}

func settingOf(r *rand.Rand) string {
	return []string{"", "", deployer.KeepLastGood, deployer.KeepLastGood, deployer.KeepLastGood, deployer.Hold, deployer.Warn}[r.IntN(7)]
}

// setRuntime lets a Deployment run something else.
func (w *world) setRuntime(r *rand.Rand, deployment string) {
	runtime := slices.Sorted(maps.Keys(runtimes))[r.IntN(len(runtimes))]
	w.astro.Update(deployment, func(d *astrotest.Deployment) { d.RuntimeVersion = runtime })
	w.mu.Lock()
	w.pythons[deployment] = runtimes[runtime]
	w.mu.Unlock()
	w.log("Deployment %s runs %s", deployment, runtime)
}

func (w *world) changeSettings() {
	r := w.roll("setting")
	if r.IntN(2) == 0 {
		w.setRuntime(r, deployments[r.IntN(len(deployments))])
		if r.IntN(3) == 0 {
			w.loseChecker() // just when all verdicts are void
		}
		return
	}
	s := w.sources[r.IntN(len(w.sources))]
	s.mu.Lock()
	s.setting = settingOf(r)
	s.mu.Unlock()
	w.log("%s: the setting is now %q", s.name, s.syntax())
}

// loseChecker lets no check give a verdict for a while.
func (w *world) loseChecker() {
	w.setChecker(false)
	time.Sleep(between(w.roll("outage"), 10*time.Second, 2*time.Minute))
	w.setChecker(true)
}

func (w *world) setChecker(works bool) {
	w.mu.Lock()
	w.uncheckable = !works
	w.mu.Unlock()
	w.log("the checker works: %v", works)
}

// changePython voids all verdicts, perhaps when none can be had.
func (w *world) changePython() {
	r := w.roll("python")
	w.setRuntime(r, w.deployment)
	if r.IntN(2) == 0 {
		w.setChecker(false)
		w.reconcile()
		w.setChecker(true)
	}
	w.reconcile()
	w.oracle.checkConverged("with another Python", false)
}

func badText(r *rand.Rand) string {
	return fmt.Sprintf("%s %d", []string{brokenText, brokenText, modernText}[r.IntN(3)], r.IntN(3))
}

// actBadly is what authors do about broken files.
func (s *source) actBadly(r *rand.Rand) {
	pause := func(low, high time.Duration) { time.Sleep(between(r, low, high)) }
	var bad, good []string
	for _, key := range s.keys() {
		if content, _ := s.content(key); isBroken(content, "") {
			bad = append(bad, key)
		} else {
			good = append(good, key)
		}
	}
	anyKey := func() string { return fmt.Sprintf("dags/f%02d.py", r.IntN(14)) }
	one := func(keys []string) string {
		if len(keys) == 0 {
			return anyKey()
		}
		return keys[r.IntN(len(keys))]
	}
	switch key := one(bad); r.IntN(11) {
	case 0, 1, 2: // a good file breaks
		s.put(one(good), badText(r))
	case 3: // in the middle of a burst
		for range 2 + r.IntN(4) {
			s.put(anyKey(), []string{badText(r), fmt.Sprintf("content %d", r.IntN(6))}[r.IntN(2)])
			pause(time.Millisecond, 3*time.Second)
		}
	case 4: // a repair
		s.put(key, fmt.Sprintf("content %d", r.IntN(6)))
	case 5: // several
		for _, key := range bad {
			s.put(key, fmt.Sprintf("content %d", r.IntN(6)))
			pause(time.Second, 20*time.Second)
		}
	case 6: // the same again
		if content, ok := s.content(key); ok {
			if r.IntN(2) == 0 {
				s.remove(key)
				pause(time.Millisecond, 30*time.Second)
			}
			s.put(key, content)
		}
	case 7: // a rename
		if content, ok := s.content(key); ok {
			s.put(anyKey(), content)
			pause(time.Millisecond, 2*time.Second)
			s.remove(key)
		}
	case 8: // it goes
		s.remove(key)
	case 9: // back to what was good
		s.mu.Lock()
		content, ok := s.good[key]
		s.mu.Unlock()
		if ok {
			s.put(key, content)
		}
	case 10: // it is no DAG, and never was, or Airflow looks at it again
		if r.IntN(3) == 0 {
			s.remove(ignoreKey)
			return
		}
		s.put(ignoreKey, path.Base(key)+"\n"+path.Base(anyKey())+"\n")
	}
}

// repair is what authors do whose source holds the route, in the end.
func (w *world) repair() {
	for _, s := range w.sources {
		for _, key := range s.keys() {
			if content, _ := s.content(key); s.syntax() == deployer.Hold && isBroken(content, "") {
				s.put(key, "content, repaired")
			}
		}
	}
	w.quiesce()
}

// python is that of the Deployment which the configuration names.
func (w *world) python() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pythons[w.deployment]
}

func (w *world) sourceOf(p string) *source {
	for _, s := range w.sources {
		if strings.HasPrefix(p, s.path("dags/")) {
			return s
		}
	}
	panic(p)
}
