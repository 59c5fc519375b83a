package notify

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/dagbucket/dagbucket/internal/state"
)

// compose puts a notice into words.
func compose(n *state.Notice) message {
	m := message{url: link(n.URL)}
	what := n.Kind
	if put, ok := wordings[n.Kind]; ok {
		what = put(n, &m)
	} else {
		m.tell(reasonOf(n))
	}
	m.title = "dagbucket " + shown(n.Route, maxName) + ": " + shown(what, maxPath)
	m.files = filesOf(n)
	return m
}

func (m *message) tell(sentence string) {
	if sentence != "" {
		m.told = append(m.told, sentence)
	}
}

// wordings has what to say for each kind. Each returns the end of the title.
var wordings = map[string]func(*state.Notice, *message) string{
	state.NoticeKept: func(n *state.Notice, m *message) string {
		m.tell(fmt.Sprintf("On %s, %s. Everything else is deployed as usual.", deployment(n), few(n, "it stays as it was", "they stay as they were")))
		m.next = repairs(n)
		return count(n, "file") + " kept " + few(n, "its", "their") + " last good version"
	},
	state.NoticeLeftOut: func(n *state.Notice, m *message) string {
		m.tell(fmt.Sprintf("%s in the bucket, but not on %s. Everything else is deployed as usual.", few(n, "It is", "They are"), deployment(n)))
		m.next = repairs(n)
		return count(n, "file") + few(n, " is", " are") + " left out"
	},
	state.NoticeHeld: func(n *state.Notice, m *message) string {
		m.tell(cmp.Or(reasonOf(n), "Somebody has to act before anything is deployed."))
		m.next = []string{"Until then " + deployment(n) + " stays as it is, and uploads wait in the bucket."}
		return "held, nothing is deployed"
	},
	state.NoticeFailed: func(n *state.Notice, m *message) string {
		m.tell(reasonOf(n))
		m.next = []string{"Uploads wait in the bucket; a later run tries again by itself."}
		return "the last run failed"
	},
	state.NoticeRecovered: func(n *state.Notice, m *message) string {
		if total(n) == 0 {
			m.tell(cmp.Or(reasonOf(n), "What was told of before is over."))
			return "in order again"
		}
		m.tell(reasonOf(n))
		m.tell("What was told of " + few(n, "it", "them") + " is over.")
		return count(n, "file") + few(n, " is", " are") + " in order again"
	},
	state.NoticeDrift: func(n *state.Notice, m *message) string {
		m.tell(cmp.Or(reasonOf(n), "Somebody else deployed them, or Astro could not carry the deploy out."))
		return "the DAGs on " + deployment(n) + " are not those of the last deploy from here"
	},
	state.NoticeImportErrors: func(n *state.Notice, m *message) string {
		m.tell(fmt.Sprintf("%s live on %s, but the DAGs in %s do not load.", few(n, "It is", "They are"), deployment(n), few(n, "it", "them")))
		m.tell(reasonOf(n))
		m.next = []string{few(n, "Repair the file, and upload it again.", "Repair the files, and upload them again.")}
		return "Airflow cannot import " + count(n, "file")
	},
	state.NoticeDeployed: func(n *state.Notice, m *message) string {
		m.tell(reasonOf(n))
		if total(n) == 0 {
			return "deployed to " + deployment(n)
		}
		return count(n, "changed file") + few(n, " is", " are") + " deployed to " + deployment(n)
	},
}

func reasonOf(n *state.Notice) string { return shown(n.Reason, maxCause) }

func deployment(n *state.Notice) string {
	return cmp.Or(shown(n.Deployment, maxName), "the Deployment")
}

// few chooses between the words for one file and those for more.
func few(n *state.Notice, one, more string) string {
	if total(n) == 1 {
		return one
	}
	return more
}

func count(n *state.Notice, what string) string {
	if total(n) == 0 { // a notice of files without any
		return "some " + what + "s"
	}
	return fmt.Sprintf("%d %s", total(n), what) + few(n, "", "s")
}

// filesOf has a line for each file, and one for those that are not in the notice.
func filesOf(n *state.Notice) []string {
	var lines []string
	for _, f := range n.Files[:shownFiles(n)] {
		line := place(f)
		switch said := said(f); {
		case said == "":
		case n.Kind == state.NoticeRecovered:
			line += " (was: " + said + ")"
		default:
			line += ": " + said
		}
		lines = append(lines, line)
	}
	if more := total(n) - len(lines); more > 0 && len(lines) > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// The reasons of files that are worded here. Others speak for themselves, or come with messages that do.
const (
	syntax   = "syntax"
	removal  = "removal"
	archived = "archived"
)

// said is what there is to say of a file.
func said(f state.NoticeFile) string {
	reason, words := shown(f.Reason, maxName), shown(f.Message, maxLine)
	if f.Reason == syntax {
		reason = "syntax error"
		if words != "" {
			words = reason + ": " + words
		}
	}
	return cmp.Or(words, reason)
}

// repairs says what to do for the reasons of a notice's files.
func repairs(n *state.Notice) []string {
	var todo []string
	for _, r := range []struct{ reason, todo string }{
		{syntax, "Repair what has a syntax error, and upload it again."},
		{removal, "If the removal was a mistake, upload again what is gone; if not, let it go with: dagbucket approve --route " + shown(n.Route, maxName)},
		{archived, "Restore what is archived; a later run then takes it."},
	} {
		if slices.ContainsFunc(n.Files, func(f state.NoticeFile) bool { return f.Reason == r.reason }) {
			todo = append(todo, r.todo)
		}
	}
	return todo
}
