package deployer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dagbucket/dagbucket/internal/selection"
	"github.com/dagbucket/dagbucket/internal/state"
)

const nobody = "Nobody needs to do anything"

// sumUp says in one sentence how the route is doing, and in another who is to act.
func (x *run) sumUp(s *state.Status, outcome Outcome, why error) {
	waits := slices.IndexFunc(s.Holds, func(h state.Hold) bool { return h.Kind != state.HeldBack })
	switch {
	case outcome == Failed:
		s.State, s.Summary = state.StatusFailed, "The last run failed: "+why.Error()
		s.Next = nobody + ": it is tried again by itself. If it goes on, an operator should look."
		if Permanent(why) {
			s.Next = "An operator: the message above says what to repair. It is tried again meanwhile."
		}
	case outcome == Held:
		sumUpHeld(s, why)
	case waits >= 0: // after a rollback, which no hold keeps from its work
		s.State, s.Summary = state.StatusHeld, "Nothing else is deployed: "+strings.TrimSuffix(s.Holds[waits].Kind+": "+s.Holds[waits].Reason, ": ")
		s.Next = "An operator: dagbucket resume lets it go on."
	case s.Drift != "" && x.notRun:
		s.State, s.Summary = state.StatusFailed, sentence(s.Drift)
		s.Next = "An operator: look at the deploy in Astro. It is tried again by itself where it ended FAILED."
	case s.Drift != "":
		s.State, s.Summary = state.StatusDrifted, sentence(s.Drift)
		s.Next = "An operator, if that was not meant: change the bucket, or set on_drift: redeploy."
	default:
		x.sumUpFiles(s)
	}
}

func sumUpHeld(s *state.Status, why error) {
	var h *HeldError
	s.State, s.Summary, s.Next = state.StatusHeld, "Nothing is deployed: "+why.Error(), "An operator: the message above says what to do."
	switch isOurs := errors.As(why, &h); {
	case isOurs && h.idle && h.Repair == "":
		s.State, s.Summary, s.Next = state.StatusWaiting, sentence(h.Reason), "A DAG author: upload a file."
	case isOurs:
		s.Summary, s.Next = "Nothing is deployed: "+h.Reason, "An operator or author: "+cmp.Or(h.Repair, "look at the reason")+"."
	}
}

// sumUpFiles is sumUp where the route itself is in order.
func (x *run) sumUpFiles(s *state.Status) {
	rest := "everything else is live"
	if s.Counts.Waiting > 0 {
		rest = fmt.Sprintf("%s for the next run", waits(s.Counts.Waiting))
	}
	back := rolledBack(s.Files)
	switch n := troubled(s.Files); {
	case n > 0:
		s.State, s.Summary, s.Next = state.StatusAttention, needs(n)+" attention; "+rest, nextForFiles(s.Files)
	case s.Counts.Waiting > 0:
		s.State, s.Summary, s.Next = state.StatusWaiting, sentence(rest), nobody+": the next run deploys it."
	case x.record.Live == nil:
		s.State, s.Summary, s.Next = state.StatusWaiting, "Nothing was deployed from here yet", "A DAG author: upload a file."
	case !x.record.Live.Confirmed:
		s.State, s.Summary, s.Next = state.StatusDeploying, "Deployed; Astro is bringing it up", nobody+": it usually takes about a minute."
	case back > 0:
		s.State, s.Next = state.StatusLive, "The authors of what was rolled back, when it is repaired: upload it again."
		s.Summary = fmt.Sprintf("%s; %s", areBack(back), rest)
	default:
		s.State, s.Summary, s.Next = state.StatusLive, "Everything is live", nobody+"."
	}
}

func rolledBack(files []state.StatusFile) int {
	n := 0
	for i := range files {
		if files[i].Reason == reasonRolledBack {
			n++
		}
	}
	return n
}

func areBack(n int) string {
	if n == 1 {
		return "One file is rolled back"
	}
	return fmt.Sprintf("%d files are rolled back", n)
}

func sentence(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func needs(n int) string {
	if n == 1 {
		return "One file needs"
	}
	return fmt.Sprintf("%d files need", n)
}

func waits(n int) string {
	if n == 1 {
		return "One file waits"
	}
	return fmt.Sprintf("%d files wait", n)
}

// troubled counts the files that somebody should do something about.
func troubled(files []state.StatusFile) int {
	n := 0
	for i := range files {
		if isTroubled(&files[i]) {
			n++
		}
	}
	return n
}

func isTroubled(f *state.StatusFile) bool {
	return f.ImportError != "" || (f.State == state.Kept || f.State == state.LeftOut) && isNews(f.Reason)
}

// nextForFiles names who is to act on the first of the files, since they are listed anyway.
func nextForFiles(files []state.StatusFile) string {
	at := slices.IndexFunc(files, func(f state.StatusFile) bool { return isTroubled(&f) })
	f := &files[at]
	switch {
	case f.Reason == reasonSyntax:
		return "The author of " + f.Path + ": repair it and upload it again, or remove it."
	case f.Reason == reasonRemoval:
		return "An operator: dagbucket approve lets the removals go; or upload the files again."
	case f.Reason == reasonConflict:
		return "The authors of " + f.Path + ": remove one of the objects that claim it."
	case f.Reason == reasonArchived:
		return "The author of " + f.Path + ": restore it, or upload it again."
	case f.Reason == selection.ReasonUnsafe:
		return "The author of " + f.Path + ": give it a name that can be a path."
	}
	return "The author of " + f.Path + ": see what Airflow says about it, and upload a repaired one."
}
