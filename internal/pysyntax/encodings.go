package pysyntax

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/transform"
)

// singleByte is an encoding on top of ASCII, by what the bytes over 127 are; U+FFFD if they are nothing.
type singleByte struct{ high func(byte) rune }

var (
	utf8Codec  = &singleByte{} // known by its identity
	asciiCodec = &singleByte{func(byte) rune { return utf8.RuneError }}
	// highCodec is for those that no library here knows: any letter stands for theirs.
	highCodec = &singleByte{func(byte) rune { return 'é' }}
)

// iso is a table with the control characters that ISO 8859 has in CPython.
func iso(c *charmap.Charmap) *singleByte {
	return &singleByte{func(b byte) rune {
		if b < 0xA0 {
			return rune(b)
		}
		return c.DecodeByte(b)
	}}
}

func isSingleByte(c encoding.Encoding) bool {
	switch c.(type) {
	case *singleByte, *charmap.Charmap:
		return true
	}
	return false
}

func (s *singleByte) NewEncoder() *encoding.Encoder { return encoding.Nop.NewEncoder() }

func (s *singleByte) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: &singleByteDecoder{singleByte: *s}}
}

type singleByteDecoder struct {
	transform.NopResetter
	singleByte
}

func (d *singleByteDecoder) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for _, b := range src {
		r := rune(b)
		if b >= utf8.RuneSelf {
			r = d.high(b)
		}
		if len(dst)-nDst < utf8.RuneLen(r) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc++
	}
	return nDst, nSrc, nil
}

// Names that CPython's tokenizer shortens before it looks them up.
const (
	shortUTF8   = "utf-8"
	shortLatin1 = "iso-8859-1"
)

// shortName is get_normal_name of CPython's tokenizer.
func shortName(name string) string {
	const looked = 12 // characters
	name = strings.ReplaceAll(strings.ToLower(name[:min(len(name), looked)]), "_", "-")
	is := func(s string) bool { return name == s || strings.HasPrefix(name, s+"-") }
	switch {
	case is(shortUTF8):
		return shortUTF8
	case is("latin-1"), is(shortLatin1), is("iso-latin-1"):
		return shortLatin1
	}
	return name
}

// normalize writes a name as CPython looks it up (encodings.normalize_encoding).
func normalize(name string) string {
	switch short := shortName(name); short {
	case shortUTF8, shortLatin1:
		name = short
	}
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '_' || r == '-' })
	return strings.Join(parts, "_")
}

// encodings are those that CPython knows, by normalized names (encodings.aliases of 3.13). nil is one that a source may have and that is not
// read here. Names that CPython knows for something else than text are left out: it refuses a source with them.
var encodings = []struct {
	codec encoding.Encoding
	names string
}{
	{utf8Codec, "utf_8 u8 utf utf8 utf8_ucs2 utf8_ucs4 cp65001 utf_8_sig"},
	{asciiCodec, "ascii 646 ansi_x3.4_1968 ansi_x3_4_1968 ansi_x3.4_1986 cp367 csascii ibm367 iso646_us iso_646.irv_1991 iso_ir_6 us us_ascii"},
	{charmap.ISO8859_1, "latin_1 iso_latin_1 8859 cp819 csisolatin1 ibm819 iso8859 iso8859_1 iso_8859_1 iso_8859_1_1987 iso_ir_100 l1 latin latin1"},
	{iso(charmap.ISO8859_2), "iso8859_2 csisolatin2 iso_8859_2 iso_8859_2_1987 iso_ir_101 l2 latin2"},
	{iso(charmap.ISO8859_3), "iso8859_3 csisolatin3 iso_8859_3 iso_8859_3_1988 iso_ir_109 l3 latin3"},
	{iso(charmap.ISO8859_4), "iso8859_4 csisolatin4 iso_8859_4 iso_8859_4_1988 iso_ir_110 l4 latin4"},
	{iso(charmap.ISO8859_5), "iso8859_5 csisolatincyrillic cyrillic iso_8859_5 iso_8859_5_1988 iso_ir_144"},
	{iso(charmap.ISO8859_6), "iso8859_6 arabic asmo_708 csisolatinarabic ecma_114 iso_8859_6 iso_8859_6_1987 iso_ir_127"},
	{iso(charmap.ISO8859_7), "iso8859_7 csisolatingreek ecma_118 elot_928 greek greek8 iso_8859_7 iso_8859_7_1987 iso_ir_126"},
	{iso(charmap.ISO8859_8), "iso8859_8 csisolatinhebrew hebrew iso_8859_8 iso_8859_8_1988 iso_ir_138"},
	{iso(charmap.ISO8859_9), "iso8859_9 csisolatin5 iso_8859_9 iso_8859_9_1989 iso_ir_148 l5 latin5"},
	{iso(charmap.ISO8859_10), "iso8859_10 csisolatin6 iso_8859_10 iso_8859_10_1992 iso_ir_157 l6 latin6"},
	{iso(charmap.ISO8859_13), "iso8859_13 iso_8859_13 l7 latin7"},
	{iso(charmap.ISO8859_14), "iso8859_14 iso_8859_14 iso_8859_14_1998 iso_celtic iso_ir_199 l8 latin8"},
	{iso(charmap.ISO8859_15), "iso8859_15 iso_8859_15 l9 latin9"},
	{iso(charmap.ISO8859_16), "iso8859_16 iso_8859_16 iso_8859_16_2001 iso_ir_226 l10 latin10"},
	{charmap.Windows1250, "cp1250 1250 windows_1250"},
	{charmap.Windows1251, "cp1251 1251 windows_1251"},
	{charmap.Windows1252, "cp1252 1252 windows_1252"},
	{charmap.Windows1253, "cp1253 1253 windows_1253"},
	{charmap.Windows1254, "cp1254 1254 windows_1254"},
	{charmap.Windows1255, "cp1255 1255 windows_1255"},
	{charmap.Windows1256, "cp1256 1256 windows_1256"},
	{charmap.Windows1257, "cp1257 1257 windows_1257"},
	{charmap.Windows1258, "cp1258 1258 windows_1258"},
	{charmap.Windows874, "cp874"},
	{charmap.CodePage437, "cp437 437 cspc8codepage437 ibm437"},
	{charmap.CodePage850, "cp850 850 cspc850multilingual ibm850"},
	{charmap.CodePage852, "cp852 852 cspcp852 ibm852"},
	{charmap.CodePage855, "cp855 855 csibm855 ibm855"},
	{charmap.CodePage858, "cp858 858 csibm858 ibm858"},
	{charmap.CodePage860, "cp860 860 csibm860 ibm860"},
	{charmap.CodePage862, "cp862 862 cspc862latinhebrew ibm862"},
	{charmap.CodePage863, "cp863 863 csibm863 ibm863"},
	{charmap.CodePage865, "cp865 865 csibm865 ibm865"},
	{charmap.CodePage866, "cp866 866 csibm866 ibm866"},
	{charmap.KOI8R, "koi8_r cskoi8r"},
	{charmap.KOI8U, "koi8_u"},
	{charmap.Macintosh, "mac_roman macintosh macroman"},
	{charmap.MacintoshCyrillic, "mac_cyrillic maccyrillic"},
	{japanese.ShiftJIS, "shift_jis csshiftjis shiftjis sjis s_jis x_mac_japanese cp932 932 ms932 mskanji ms_kanji windows_31j"},
	{japanese.EUCJP, "euc_jp eucjp ujis u_jis"},
	{japanese.ISO2022JP, "iso2022_jp csiso2022jp iso2022jp iso_2022_jp"},
	{korean.EUCKR, "euc_kr euckr korean ksc5601 ks_c_5601 ks_c_5601_1987 ksx1001 ks_x_1001 x_mac_korean cp949 949 ms949 uhc"},
	{simplifiedchinese.GBK, "gbk 936 cp936 ms936 gb2312 chinese csiso58gb231280 euc_cn euccn eucgb2312_cn gb2312_1980 gb2312_80 iso_ir_58 x_mac_simp_chinese"},
	{simplifiedchinese.GB18030, "gb18030 gb18030_2000"},
	{simplifiedchinese.HZGB2312, "hz hzgb hz_gb hz_gb_2312"},
	{traditionalchinese.Big5, "big5 big5_tw csbig5 x_mac_trad_chinese big5hkscs big5_hkscs hkscs cp950 950 ms950"},
	{highCodec, "cp720 cp737 cp775 775 cspc775baltic ibm775 cp856 cp857 857 csibm857 ibm857 cp861 861 cp_is csibm861 ibm861 cp869 869 cp_gr csibm869 " +
		"ibm869 cp1006 cp1125 1125 ibm1125 cp866u ruscii hp_roman8 roman8 r8 cp1051 ibm1051 iso8859_11 thai iso_8859_11 iso_8859_11_2001 koi8_t " +
		"kz1048 kz_1048 rk1048 strk1048_2002 mac_arabic mac_croatian mac_farsi mac_greek macgreek mac_iceland maciceland mac_latin2 maccentraleurope " +
		"mac_centeuro maclatin2 mac_romanian mac_turkish macturkish palmos ptcp154 csptcp154 pt154 cp154 cyrillic_asian tis_620 tis620 tis_620_0 " +
		"tis_620_2529_0 tis_620_2529_1 iso_ir_166"},
	{nil, "cp037 037 csibm037 ebcdic_cp_ca ebcdic_cp_nl ebcdic_cp_us ebcdic_cp_wt ibm037 ibm039 cp1026 1026 csibm1026 ibm1026 cp1140 1140 ibm1140 " +
		"cp273 273 ibm273 csibm273 cp424 424 csibm424 ebcdic_cp_he ibm424 cp500 500 csibm500 ebcdic_cp_be ebcdic_cp_ch ibm500 cp864 864 csibm864 ibm864 " +
		"cp875 euc_jis_2004 jisx0213 eucjis2004 euc_jis2004 euc_jisx0213 eucjisx0213 iso2022_jp_1 iso2022jp_1 iso_2022_jp_1 iso2022_jp_2 iso2022jp_2 " +
		"iso_2022_jp_2 iso2022_jp_2004 iso_2022_jp_2004 iso2022jp_2004 iso2022_jp_3 iso2022jp_3 iso_2022_jp_3 iso2022_jp_ext iso2022jp_ext iso_2022_jp_ext " +
		"iso2022_kr csiso2022kr iso2022kr iso_2022_kr johab cp1361 ms1361 shift_jis_2004 shiftjis2004 sjis_2004 s_jis_2004 shift_jisx0213 shiftjisx0213 " +
		"sjisx0213 s_jisx0213 idna punycode raw_unicode_escape unicode_escape charmap utf_7 u7 utf7 unicode_1_1_utf_7 utf_16 u16 utf16 utf_16_be " +
		"unicodebigunmarked utf_16be utf_16_le unicodelittleunmarked utf_16le utf_32 u32 utf32 utf_32_be utf_32be utf_32_le utf_32le"},
}

var codecs = func() map[string]encoding.Encoding {
	all := map[string]encoding.Encoding{}
	for _, e := range encodings {
		for _, name := range strings.Fields(e.names) {
			all[name] = e.codec
		}
	}
	return all
}()
