package pysyntax

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestPositions(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	long, far := strings.Repeat("a, ", 100), strings.Repeat(" ", excerptLead)+"^"
	for name, tc := range map[string]struct {
		source       string
		line, column int
		excerpt      string
	}{
		"first line":              {"x = = 1\n", 1, 5, "x = = 1\n    ^"},
		"later line":              {"y = 1\n\n  # c\nx = = 1\n", 4, 5, "x = = 1\n    ^"},
		"tabs count one":          {"if a:\n\t\tx = = 1\n", 2, 7, "  x = = 1\n      ^"},
		"wide characters":         {"x = '日本😀' 1\n", 1, 11, "x = '日本😀' 1\n          ^"},
		"combining characters":    {"x = 'e\u0301' 1\n", 1, 10, "x = 'e\u0301' 1\n         ^"},
		"CRLF":                    {"y = 1\r\nx = = 1\r\nz = 1\r\n", 2, 5, "x = = 1\n    ^"},
		"CR only":                 {"y = 1\rx = = 1\rz = 1\r", 2, 5, "x = = 1\n    ^"},
		"ends of lines mixed":     {"y = 1\r\n\r\n\n\rx = = 1\n", 5, 5, "x = = 1\n    ^"},
		"byte order mark":         {"\ufeffx = = 1\n", 1, 5, "x = = 1\n    ^"},
		"byte order mark, later":  {"\ufeff# c\nx = = 1\n", 2, 5, "x = = 1\n    ^"},
		"no newline at the end":   {"y = 1\nx = = 1", 2, 5, "x = = 1\n    ^"},
		"end of the file":         {"y = 1\nx = (\n", 3, 1, ""},
		"end of the last line":    {"y = 1\nx = (", 2, 6, "x = (\n     ^"},
		"latin-1":                 {"# coding: latin-1\nx = '\xe9\xe9' 1\n", 2, 10, "x = 'éé' 1\n         ^"},
		"long line, start":        {"x = = " + long + "1\n", 1, 5, "x = = " + long[:94] + "\n    ^"},
		"long line, middle":       {"x = [" + long + "= " + long + "]\n", 1, 306, long[:60] + "= " + long[:38] + "\n" + far},
		"long line, end":          {"x = [" + long + "= 1]\n", 1, 306, long[:60] + "= 1]\n" + far},
		"long line, wide":         {"x = ['" + strings.Repeat("é", 300) + "' = 1]\n", 1, 309, strings.Repeat("é", 58) + "' = 1]\n" + far},
		"control characters":      {"x = '\x1b[31m\x7f' 1\n", 1, 14, "x = ' [31m ' 1\n             ^"},
		"form feed":               {"y = 1\n\fx = = 1\n", 2, 6, " x = = 1\n     ^"},
		"vertical tab":            {"x = '\v' 1\n", 1, 9, "x = ' ' 1\n        ^"},
		"line separator":          {"x = '\u2028' 1\n", 1, 9, "x = ' ' 1\n        ^"},
		"null byte":               {"y = 1\nx = '\x00'\n", 2, 6, "x = ' '\n     ^"},
		"null byte behind a mark": {"\ufeffx\x00", 1, 2, "x\n ^"},
		"null behind other bytes": {"x = '\xff\xff\xff\x00'\n", 1, 9, "x = '\ufffd\ufffd\ufffd '\n        ^"},
		"not UTF-8":               {"y = 1\r\nx = 'é\xff\xff'\n", 2, 7, "x = 'é\ufffd\ufffd'\n      ^"},
		"encoding":                {"#!python\n# coding: nonsense\n", 2, 1, "# coding: nonsense\n^"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := check(t, c, tc.source, "")
			require.NotEmpty(t, found)
			d := found[0]
			require.Equal(t, [2]int{tc.line, tc.column}, [2]int{d.Line, d.Column}, d.Message)
			require.Equal(t, tc.excerpt, d.Excerpt)
		})
	}
}

func TestExcerptOfPlacesThatAreNone(t *testing.T) {
	t.Parallel()
	source := []byte("ab\ncd\n")
	for name, tc := range map[string]struct {
		line, column int
		want         string
	}{
		"past the line":    {1, 100, "ab\n  ^"},
		"past the source":  {4, 1, ""},
		"far past it":      {1 << 30, 7, ""},
		"before the line":  {2, 0, "cd\n^"},
		"before the first": {0, 1, ""},
		"negative":         {-3, -3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, excerpt(source, tc.line, tc.column))
		})
	}
}

func TestDiagnosticsAreInOrderAndFew(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	found := check(t, c, strings.Repeat("def f():\n    return\n\nreturn 1\n", 50), "")
	require.Len(t, found, maxDiagnostics)
	for i := range found[1:] {
		require.LessOrEqual(t, found[i].Line, found[i+1].Line)
	}
	require.NotContains(t, found[0].Message, "\n")
	require.Equal(t, "4:1: `return` statement outside of a function/method", found[0].String())
}

// TestSuppressions has every kind of comment that ruff knows (https://docs.astral.sh/ruff/linter/#error-suppression, the sources of release
// 0.16 and 0.17), by which none of CPython's errors may go.
func TestSuppressions(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	for _, comment := range []string{
		"# noqa", "#noqa", "# NOQA", "# NoQa", "#\tnoqa", "#\u00a0noqa", "#  noqa", "# noqa: F706", "# NOQA: F706", "# noqa:F706", "# noqa : F706", "# noqa F706", "# noqa: F706,E501",
		"# noqa: F706 E501", "# noqa: PLE0118 F404", "# text # noqa", "# text # noqa: F706", "## noqa", "# noqa # text", "# noqa, text", "# type: ignore # noqa",
		"# ruff: noqa", "#ruff:noqa", "# ruff : noqa", "# ruff: NOQA", "# ruff: noqa: F706", "# ruff: noqa: ALL", "# flake8: noqa", "# flake8:noqa", "# flake8: NOQA", "# flake8: noqa: F706",
		"# text # ruff: noqa", "# ruff: disable[F706]", "# ruff:disable[F706]", "# ruff : disable[F706]", "# ruff: disable[F706, F404,]", "# ruff: disable[F706] text",
		"# ruff: ignore[F706]", "# ruff:ignore[F706]", "# ruff: ignore[F706] # text", "# ruff: file-ignore[F706]", "# ruff: file-ignore[F706,F404]", "# RUFF: noqa", "# Ruff: ignore[F706]",
		"# ruff: ignore[return-outside-function]", "# ruff: file-ignore[return-outside-function]", "# type: ignore", "# pylint: disable=E", "# fmt: off", "# fmt: skip", "# isort: skip_file",
		"# ruff: isort: skip_file", "# pragma: no cover", "# nosec", "# pyright: ignore", "# mypy: ignore-errors", "# ty: ignore", "# yapf: disable",
	} {
		t.Run(comment, func(t *testing.T) {
			t.Parallel()
			for where, source := range map[string]string{
				"behind":             "x = 1\nreturn x  " + comment + "\n",
				"above":              "x = 1\n" + comment + "\nreturn x\n",
				"first line":         comment + "\nx = 1\nreturn x\n",
				"last line":          "x = 1\nreturn x\n" + comment,
				"behind a docstring": "\"\"\"d\n\"\"\"  " + comment + "\nreturn 1\n",
				"above, CR":          "x = 1\r" + comment + "\rreturn x\r",
			} {
				found := check(t, c, source, "")
				require.Len(t, found, 1, where)
				require.Equal(t, "`return` statement outside of a function/method", found[0].Message, where)
			}
		})
	}
}

// TestOtherRulesAreNotSuppressed has one source for each of the rules but F621, which finds nothing in this release.
func TestOtherRulesAreNotSuppressed(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	for rule, source := range map[string]string{
		"F404":    "x = 1\nfrom __future__ import annotations#\n",
		"F406":    "def f():\n    from x import *#\n",
		"F407":    "from __future__ import nonsense#\n",
		"F622":    "*a, *b = c#\n",
		"F701":    "break#\n",
		"F702":    "continue#\n",
		"F704":    "yield 1#\n",
		"F706":    "return#\n",
		"F707":    "try:\n    pass\nexcept:#\n    pass\nexcept A:\n    pass\n",
		"PLE0115": "def f():\n    x = 1\n    def g():\n        global x\n        nonlocal x#\n",
		"PLE0117": "def f():\n    nonlocal x#\n",
		"PLE0118": "def f():\n    x = 1#\n    global x#\n",
		"PLE1142": "def f():\n    await x#\n",
		"PLE1700": "async def f():\n    yield from x#\n",
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, rules, rule)
			for _, comment := range []string{"", "  # noqa", "  # noqa: " + rule, "  # ruff: ignore[" + rule + "]"} {
				require.NotEmpty(t, check(t, c, strings.ReplaceAll(source, "#", comment), ""), comment)
			}
		})
	}
}

// TestWordsOfSuppressionsAreNames has what spoiled words could break.
func TestWordsOfSuppressionsAreNames(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	for name, source := range map[string]string{
		"names alike":       "def f(noqa, n0qa, ruff, r0ff):\n    return noqa + n0qa + ruff + r0ff\n",
		"global":            "noqa = n0qa = 1\ndef f():\n    n0qa = 1\n    global noqa\n    noqa = n0qa\n",
		"global twice":      "def f():\n    global noqa\n    global noqa  # noqa\n    noqa = 1\n",
		"keyword arguments": "f(noqa=1, n0qa=2, ruff=3, r0ff=4)  # noqa\n",
		"nonlocal":          "def f():\n    x = '#'; ruff = 1; noqa = 2\n    def g():\n        nonlocal ruff, noqa\n        ruff = noqa\n",
		"behind a string":   "def f():\n    x = '# x' + noqa; x = f'#{ruff}'; x = \"#\" 'ruff'\n    def g(): pass\n    noqa = ruff = 1\n",
		"in f-strings":      "noqa = ruff = 1\nx = f'# noqa {noqa} # ruff {ruff} {noqa:#ruff} {{# noqa'\n",
		"in bytes":          "x = b'# noqa' + rb'# ruff: noqa\\x' + b'#\\x00ruff'\n",
		"escapes":           "x = '# \\ruff \\noqa #\\ruff #\\x41ruff #\\u0041ruff'\n",
		"match":             "match x:\n    case {'noqa': noqa, 'n0qa': n0qa, '# noqa': ruff}:\n        pass\n",
		"only a comment":    "# noqa",
		"only half of one":  "x = 1  # noq",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, check(t, c, source, "3.12"))
		})
	}
	require.Equal(t, "1:13: Duplicate parameter \"noqa\"", check(t, c, "def f(noqa, noqa): pass  # noqa\n", "")[0].String(), "messages are not spoiled")
	require.Equal(t, "return  # noqa, ruff\n^", check(t, c, "return  # noqa, ruff\n", "")[0].Excerpt, "nor excerpts")
}

func TestWithoutSuppressionsKeepsThePlaces(t *testing.T) {
	t.Parallel()
	source := []byte("noqa # noqa Ruff 'noqa\n#RUFF#noqa{ruff\r# é noqa")
	got := withoutSuppressions(source)
	require.Equal(t, "noqa # n0qa R0ff 'noqa\n#R0FF#n0qa{ruff\r# é n0qa", string(got))
	require.Contains(t, string(source), "# noqa", "the source stays")
	clean := []byte("x = 1 # c")
	require.Same(t, &clean[0], &withoutSuppressions(clean)[0], "nothing is copied for nothing")
}

func TestTabs(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	const message = "inconsistent use of tabs and spaces in indentation"
	for name, tc := range map[string]struct{ source, want string }{
		"tabs only":                      {"if a:\n\tif b:\n\t\tc\n\td\n", ""},
		"spaces only":                    {"if a:\n  if b:\n     c\n  d\n", ""},
		"tabs below spaces":              {"if a:\n  if b:\n  \tc\n  d\n", ""},
		"eight spaces for a tab":         {"if a:\n\tb\n        c\n", "Unexpected indentation"},
		"a body of eight spaces":         {"class A:\n\tdef f():\n        pass\n", "3:9: " + message},
		"blanks and a tab":               {"class A:\n\tdef f():\n     \t  pass\n", ""},
		"a blank between tabs":           {"if a:\n\tif b:\n\t \tc\n", ""},
		"a form feed begins anew":        {"if a:\n \f\tif b:\n \f\t\tc\n", ""},
		"in brackets":                    {"x = [\n\t1,\n        2,\n   3]\n", ""},
		"in a string":                    {"x = '''\n\ta\n        b\n   '''\n", ""},
		"in a comment":                   {"if a:\n        b\n\t# c\n  # d\n        e\n", ""},
		"CR":                             {"class A:\r\tdef f():\r        pass\r", "3:9: " + message},
		"other errors come first":        {"class A:\n\tdef f():\n        pass\n= 1\n", "4:1: "},
		"suppressions do not silence it": {"class A:\n\tdef f(): # noqa\n        pass # noqa\n", "3:9: " + message},
		"tabs and blanks in two blocks":  {"def f():\n\tx = 1\nif a:\n        b\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := check(t, c, tc.source, "")
			if tc.want == "" {
				require.Empty(t, found)
				return
			}
			require.NotEmpty(t, found)
			require.Contains(t, found[0].String(), tc.want)
		})
	}
}

func TestExpandTabs(t *testing.T) {
	t.Parallel()
	require.Nil(t, expandTabs([]byte("\ta\n\tb\n")))
	require.Nil(t, expandTabs([]byte("  a\n b\tc\n")))
	require.Equal(t, "        a\n        b\tc\r\n          d\r  \f        e", string(expandTabs([]byte("\ta\n   \tb\tc\r\n\t  d\r  \f\te"))))
}

func TestPython(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	require.Equal(t, "3.11", Python("3.11"))
	newest := Versions[len(Versions)-1]
	for _, unknown := range []string{"", "3", "3.6", "2.7", "3.99", "3.11.4", "x"} {
		require.Equal(t, newest, Python(unknown), unknown)
	}
	require.NotEmpty(t, check(t, c, "match x:\n    case 1: pass\n", "3.9"))
	require.Empty(t, check(t, c, "match x:\n    case 1: pass\n", "3.10"))
	require.NotEmpty(t, check(t, c, "type A = int\n", "3.11"))
	require.Empty(t, check(t, c, "type A = int\n", ""))
	for _, python := range Versions {
		require.Empty(t, check(t, c, "x = 1\n", python), python)
		require.NotEmpty(t, check(t, c, "x = = 1\n", python), python)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	line := []byte("x = 1\n")
	most := bytes.Repeat(line, MaxSource/len(line))
	found, err := c.Check(t.Context(), most, "")
	require.NoError(t, err)
	require.Empty(t, found)
	_, err = c.Check(t.Context(), append(most, line...), "")
	require.True(t, IsUnchecked(err))
	require.ErrorContains(t, err, "not checked: 1048578 bytes are more than 1048576")
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "x = 1\n", "\xef\xbb\xbfx", "# coding: latin-1\n\xe9", "#\n# coding=gbk\n\x81", "# coding: utf-7\n+AGE-", "\xff", "a\x00b", "# vim: fileencoding=euc-jp\r\xa4\xa4",
		"# coding: hz\n~{", "# coding: iso-2022-jp\n\x1b$B", "# coding: big5\n\xc7\x62", "# coding: gb18030\n\x84\x31\xa4\x37", "\f# coding:ascii\n\x80"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		decoded, problem, err := decode(source)
		switch {
		case err != nil:
			require.True(t, IsUnchecked(err), err)
		case problem != nil:
			requireInside(t, *problem, source)
		default:
			require.True(t, utf8.Valid(decoded))
			require.NotContains(t, string(decoded), "\x00")
		}
	})
}

// requireInside fails unless a diagnostic points into a source or to its end.
func requireInside(t *testing.T, d Diagnostic, source []byte) {
	t.Helper()
	lines := bytes.Count(source, []byte("\n")) + bytes.Count(source, []byte("\r")) + 1
	require.True(t, d.Line >= 1 && d.Line <= lines, "%s: of %d lines", d, lines)
	require.True(t, d.Column >= 1 && d.Column <= len(source)+1, "%s: of %d bytes", d, len(source))
	require.NotEmpty(t, d.Message)
	require.True(t, utf8.ValidString(d.Excerpt))
	if d.Excerpt != "" {
		shown, caret, _ := strings.Cut(d.Excerpt, "\n")
		require.LessOrEqual(t, utf8.RuneCountInString(shown), excerptWidth)
		require.LessOrEqual(t, len(caret), excerptWidth+1)
		require.Equal(t, "^", strings.TrimLeft(caret, " "))
	}
}

// TestMessagesAreShortAndTellNoSecret: a message names things of the source, which may be long, and literals, which may be secret.
func TestMessagesAreShortAndTellNoSecret(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ source, want string }{
		"a long name":     {"def f():\n    " + strings.Repeat("x", 500_000) + " = 1\n    global " + strings.Repeat("x", 500_000) + "\n", ""},
		"a long encoding": {"# coding: " + strings.Repeat("a", 500_000) + "\n", "unknown encoding: aaaa"},
		"a literal":       {"match x:\n    case {'sk-secret': 1, 'sk-secret': 2}: pass\n", "mapping pattern checks duplicate key `…`"},
		"controls":        {"x = \x1b[31m\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := check(t, sharedChecker(t), c.source, "")
			require.NotEmpty(t, found)
			require.LessOrEqual(t, len([]rune(found[0].Message)), messageWidth+1)
			require.Contains(t, found[0].Message, c.want)
			require.NotContains(t, found[0].Message, "secret")
			require.NotContains(t, found[0].Message+found[0].Excerpt, "\x1b")
		})
	}
}
