// Package notifytest has a notice of each kind, for tests.
package notifytest

import (
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// Notices returns one of each kind, as runs make them.
func Notices() map[string]*state.Notice {
	return map[string]*state.Notice{
		state.NoticeKept: with(state.NoticeKept, "", 12,
			state.NoticeFile{Path: "dags/team/report.py", Reason: "syntax", Message: "Expected `:`, found newline", Line: 12, Column: 20},
			state.NoticeFile{Path: "dags/team/load.sql", Reason: "archived", Message: "its storage class must be restored before it can be read"},
			state.NoticeFile{Path: "dags/old/a.py", Reason: "removal", Message: "11 of the 20 files of s3://acme-dags/dags/ are gone; dagbucket approve lets it go"}),
		state.NoticeLeftOut: with(state.NoticeLeftOut, "", 2,
			state.NoticeFile{Path: "dags/new.py", Reason: "syntax", Message: "unindent does not match any outer indentation level", Line: 7},
			state.NoticeFile{Path: "dags/a//b.py", Reason: "unsafe", Message: `its key has an empty segment ("//", or a "/" at its end): write each slash once, and none at the end`}),
		state.NoticeHeld: with(state.NoticeHeld,
			"s3://acme-dags/dags/ is empty, and its 42 live files stay: upload the files again, let them go with dagbucket approve, or set guard.allow_empty", 0),
		state.NoticeFailed: with(state.NoticeFailed,
			"listing s3://acme-dags/dags/: access denied: allow s3:ListBucket on the bucket to this function's role", 0),
		state.NoticeRecovered: with(state.NoticeRecovered, "", 2,
			state.NoticeFile{Path: "dags/team/load.sql", Reason: "archived"}, state.NoticeFile{Path: "dags/team/report.py", Reason: "syntax"}),
		state.NoticeDrift: with(state.NoticeDrift,
			"a rollback in Astro (clq0x7r4e000208l4h8k2m9n3) replaced what was deployed here; it stays until the bucket changes", 0),
		state.NoticeImportErrors: with(state.NoticeImportErrors, "", 1,
			state.NoticeFile{Path: "dags/team/report.py", Reason: "import error", Message: "ModuleNotFoundError: No module named 'acme_utils'", Line: 3}),
		state.NoticeDeployed: with(state.NoticeDeployed, "", 3,
			state.NoticeFile{Path: "dags/new.py", Reason: "added"}, state.NoticeFile{Path: "dags/report.py", Reason: "modified"},
			state.NoticeFile{Path: "dags/old.py", Reason: "removed"}),
	}
}

func with(kind, reason string, total int, files ...state.NoticeFile) *state.Notice {
	n := &state.Notice{
		ID: "20261123T041106Z-9f86d081-" + kind, Kind: kind, At: time.Date(2026, 11, 23, 4, 11, 30, 0, time.UTC), Route: "prod", Deployment: "Analytics",
		URL: "https://cloud.astronomer.io/clmg78a9d000008l7ek2m1a2b/deployments/clmh57jtm000008lb58fe2wmv", Reason: reason,
		Run: "20261123T041106Z-9f86d081", Files: files, Total: total,
	}
	if kind == state.NoticeDeployed {
		n.DeployID = "clq0v5p9c000108l4d3f2g7h1"
	}
	return n
}
