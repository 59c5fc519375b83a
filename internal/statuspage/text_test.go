package statuspage

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatCannotBeSeenIsWrittenOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"plain":                  {"dags/report.py", "dags/report.py"},
		"other scripts":          {"dags/été/报告/تقرير.py", "dags/été/报告/تقرير.py"},
		"spaces":                 {"a b\u00a0c", "a b\u00a0c"},
		"right-to-left override": {"invoice\u202efdp.py", "invoice[U+202E]fdp.py"},
		"isolates and marks":     {"\u2066a\u2069\u200e\u061c", "[U+2066]a[U+2069][U+200E][U+061C]"},
		"control characters":     {"a\x00\x1b[31m\x7f\u0085", "a[U+0000][U+001B][31m[U+007F][U+0085]"},
		"line breaks":            {"a\nb\tc\r\nd", "a[U+000A]b[U+0009]c[U+000D][U+000A]d"},
		"separators":             {"a\u2028b\u2029", "a[U+2028]b[U+2029]"},
		"nothing to see":         {"a\u200bb\ufeffc\u00add\u3164e\u2060", "a[U+200B]b[U+FEFF]c[U+00AD]d[U+3164]e[U+2060]"},
		"joiners in ASCII":       {"re\u200dport\u200c", "re[U+200D]port[U+200C]"},
		"joiners in emoji":       {"👩\u200d💻️ ❤\ufe0f", "👩\u200d💻️ ❤\ufe0f"},
		"joiner and the unseen":  {"é\u200d\u202eé\u200d\u200dé", "é[U+200D][U+202E]é[U+200D][U+200D]é"},
		"joiner at the ends":     {"\u200dé\u200d", "[U+200D]é[U+200D]"},
		"variation selectors":    {"a\ufe00b\U000e0100", "a[U+FE00]b[U+E0100]"},
		"tags":                   {"a\U000e0041\U000e01f0", "a[U+E0041][U+E01F0]"},
		"not UTF-8":              {"a\xffb\xc3", "a[0xFF]b[0xC3]"},
		"replacement character":  {"a\ufffdb", "a\ufffdb"},
		"private and unassigned": {"\ue000\U0010ffff", "[U+E000][U+10FFFF]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, show(c.text))
		})
	}
	require.Equal(t, "a\nb\tc\nd[U+000D]e", showLines("a\nb\tc\r\nd\re"))
}

func TestProse(t *testing.T) {
	t.Parallel()
	require.Equal(t, []part{{"run ", false}, {"dagbucket approve", true}, {".", false}}, prose("run `dagbucket approve`."))
	require.Equal(t, []part{{"a ", false}, {"b", true}, {" c`d", false}}, prose("a `b` c`d"))
	require.Equal(t, []part{{"a`b", false}}, prose("a`b"))
	require.Equal(t, []part{{"<b>", true}}, prose("`<b>`"))
	require.Empty(t, prose(""))
}

func TestNumbersAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 10000: "10,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		require.Equal(t, want, number(n))
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9950: "10 kB", 48213: "48 kB", 999499: "999 kB", 999500: "1.0 MB", 2 << 30: "2.1 GB", 5e15: "5000 TB"} {
		require.Equal(t, want, size(n), "%d", n)
	}
	for s, want := range map[float64]string{0: "0 s", 0.04: "0 s", 0.06: "0.1 s", 9.94: "9.9 s", 9.96: "10 s", 59.4: "59 s", 59.6: "1 min 0 s", 72.5: "1 min 13 s", 3600: "1 h 0 min", 7260: "2 h 1 min", -1: "0 s"} {
		require.Equal(t, want, seconds(s), "%g", s)
	}
	require.Equal(t, "1 file", plural(1, "file", "files"))
	require.Equal(t, "0 files", plural(0, "file", "files"))
	require.Equal(t, "0123456789ab", short("sha256:0123456789abcdef"))
	require.Equal(t, "abc", short("abc"))
}

func TestTimesAreUTC(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 1, 2, 3, 4, time.FixedZone("", 3600))
	require.Equal(t, "30 Nov 2026, 00:02 UTC", human(at))
	require.Equal(t, "2026-11-30T00:02:03Z", machine(at))
}
