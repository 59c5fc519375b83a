package pysyntax

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
)

// spellings are names besides Python's own: what people write, what its tokenizer and its look-up make equal or not, and what does not exist.
var spellings = []string{
	"utf-8", "UTF-8", "Utf-8", "utf8", "UTF8", "utf_8", "UTF_8", "utf-8-unix", "utf-8-dos", "utf_8_unix", "utf8-unix", "utf-8-sig", "utf8-sig", "UTF-8-SIG", "utf--8",
	"utf-8-", "utf-8--", "utf-8.", ".utf-8", "utf-8.unix", "u8", "U8", "utf", "utf-88", "utf-8unix", "utf-7", "utf-16", "utf-32", "utf-16-le", "ucs-2", "cp65001",
	"latin-1", "Latin-1", "latin1", "LATIN1", "latin-1-unix", "latin_1_unix", "latin1-unix", "iso-8859-1", "ISO-8859-1", "iso8859-1", "iso-8859-1-unix", "iso_8859_1",
	"iso-8859-15", "ISO-8859-15", "iso-latin-1", "iso-latin-1-unix", "iso-latin-15", "L1", "l1-unix", "ascii", "ASCII", "us-ascii", "646", "ansi_x3.4-1968", "iso-ir-6",
	"cp1252", "CP1252", "cp-1252", "windows-1252", "Windows-1252", "win-1252", "mbcs", "oem", "koi8-r", "KOI8-R", "koi8-u", "gbk", "GBK", "gb2312", "gb-2312", "big5", "Big-5",
	"euc-jp", "EUC-JP", "eucjp", "shift-jis", "Shift_JIS", "sjis", "euc-kr", "iso-2022-jp", "hz", "idna", "rot13", "rot_13", "hex", "base64", "zlib", "undefined",
	"unknown", "utf8x", "utf9", "x", "-", "_", "...", "8", "iso-8859-12", "raw-unicode-escape", "unicode-escape", "punycode", "palmos", "charmap", "string_escape",
}

// places are where a declaration may stand; {} is the name.
var places = map[string]string{
	"line 1":                    "# -*- coding: {} -*-\n",
	"line 2":                    "#!/usr/bin/env python\n# -*- coding: {} -*-\n",
	"line 2 after an empty one": "\n# coding: {}\n",
	"line 2 after blanks":       " \t\f\n# coding: {}\n",
	"line 2 after code":         "y = 1\n# coding: {}\n",
	"line 2 after a docstring":  "'''d'''\n# coding: {}\n",
	"line 3":                    "#\n#\n# coding: {}\n",
	"vim":                       "# vim: set fileencoding={} :\n",
	"vim with a colon":          "# vim: fileencoding: {}\n",
	"indented":                  "  \t# coding={}\n",
	"form feed":                 "\f# coding={}\n",
	"a blank before the colon":  "# coding : {}\n",
	"tab after the colon":       "# coding:\t{}\n",
	"form feed after the colon": "# coding:\f{}\n",
	"twice":                     "# coding: coding: {}\n",
	"second word":               "# encoding = x coding={}\n",
	"behind code":               "y = 1 # coding: {}\n",
	"in a string":               "y = '# coding: {}'\n",
	"upper case":                "# CODING: {}\n",
	"no space":                  "#coding:{}\n",
	"quoted":                    "# coding: '{}'\n",
	"windows":                   "# x\r\n# coding: {}\r\n",
	"old mac":                   "# x\r# coding: {}\r",
	"two declarations":          "# coding: utf-8\n# coding: {}\n",
	"continued":                 "\\\n# coding: {}\n",
	"no newline":                "# coding: {}",
}

// contents follow the declaration: high bytes that are letters in some encodings, and that are none in others.
var contents = map[string]string{
	"ascii": "x = 'a~b'\n", "letter": "x = '\xe9'\n", "two letters": "x = '\xa4\xa4'\n", "utf-8": "x = 'é'\n", "name": "é = 1\n",
	"control": "x = '\x81'\n", "comment": "x = 1 # \xe9\n", "error": "x = = 'a'\n",
}

// encodingSources returns sources by a name that says what they are.
func encodingSources(pythons []string) map[string][]byte {
	sources := map[string][]byte{}
	add := func(encoding, place, content string) {
		for prefix, name := range map[string]string{"": "", string(bom): "BOM, "} {
			source := prefix + strings.ReplaceAll(places[place], "{}", encoding) + contents[content]
			sources[fmt.Sprintf("%s%q, %s, %s", name, encoding, place, content)] = []byte(source)
		}
	}
	for _, name := range slices.Concat(pythons, spellings) {
		for content := range contents {
			add(name, "line 1", content)
		}
	}
	for place := range places {
		for _, name := range []string{"utf-8", "utf8", "latin-1", "ascii", "iso-8859-15", "unknown", "utf-8-unix", "gbk"} {
			for content := range contents {
				add(name, place, content)
			}
		}
	}
	return sources
}

// TestEncodings compares what is made of declarations with what the Python on the PATH makes of them.
func TestEncodings(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	python := pythonOnPATH(t)
	var names []string
	cpython(t, &names, nil, "encodings")
	sources := encodingSources(names)
	invalid := compileSources(t, sources)
	verdicts, missed := 0, 0
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		found, err := c.Check(t.Context(), sources[name], python)
		if IsUnchecked(err) {
			continue
		}
		require.NoError(t, err)
		verdicts++
		switch {
		case len(found) > 0 && invalid[name] == "":
			require.Contains(t, found[0].Message, "is not UTF-8", "a false alarm: %s: %s", name, found[0])
			require.Regexp(t, "comment|no newline", name, "only in comments it is stricter")
		case len(found) == 0 && invalid[name] != "":
			require.True(t, mayMiss(sources[name]), "missed: %s: %s", name, invalid[name])
			missed++
		}
	}
	t.Logf("Python %s: %d sources, %d verdicts, %d missed", python, len(sources), verdicts, missed)
	require.Greater(t, verdicts, len(sources)/2)
}

// mayMiss reports whether a source with high bytes is in an encoding that is larger here than in CPython. Where a table is not known, each
// byte is a letter. And the libraries' tables of Asian encodings, which are those of browsers, hold what CPython has as encodings of their
// own: cp932 in shift_jis, gbk in gb2312, cp949 in euc_kr, big5hkscs in big5 and cp950.
func mayMiss(source []byte) bool {
	name, _ := declaredEncoding(source)
	codec := codecs[normalize(name)]
	_, byTable := codec.(*charmap.Charmap)
	single, ours := codec.(*singleByte)
	known := byTable || ours && single != highCodec
	return !known && strings.ContainsFunc(string(source), func(r rune) bool { return r > 0x7F })
}

// TestTables compares tables byte by byte: a letter must not be taken for none.
func TestTables(t *testing.T) {
	t.Parallel()
	sources := map[string][]byte{}
	for _, name := range singleByteNames() {
		for b := 0x80; b <= 0xFF; b++ {
			sources[fmt.Sprintf("%s %02x", name, b)] = []byte("# coding: " + name + "\nx = '" + string([]byte{byte(b)}) + "'\n")
		}
	}
	pythonOnPATH(t)
	invalid := compileSources(t, sources)
	for name, source := range sources {
		_, problem, err := decode(source)
		require.NoError(t, err, name)
		if problem != nil {
			require.NotEmpty(t, invalid[name], "%s: %s", name, problem)
		}
	}
}

func singleByteNames() []string {
	var names []string
	for _, e := range encodings {
		if e.codec != nil && isSingleByte(e.codec) && e.codec != encoding.Encoding(utf8Codec) {
			names = append(names, strings.Fields(e.names)[0])
		}
	}
	return names
}
