package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// The parsers' errors are the texts of problems: what is wrong, then the repair. Those of values that are secret, or
// that people mistake for one, do not show the value.

// maxBucketURL is in bytes: of S3's keys with 1,024, and of Google's bucket names with 222.
const maxBucketURL = 1_300

func parseBucketURL(s string) (bucket.URL, error) {
	if len(s) > maxBucketURL && !strings.HasPrefix(s, "file:///") { // not shown: nobody reads it, and an alias may repeat it
		return bucket.URL{}, fmt.Errorf("has %d bytes, more than any place in a bucket (%d): write s3://bucket/prefix/, gs://bucket/prefix/ or file:///dir/",
			len(s), maxBucketURL)
	}
	u, err := bucket.ParseURL(s)
	switch {
	case strings.ContainsAny(s, "?@") && err != nil: // credentials, or a signed URL
		return u, errors.New("is not a bucket URL (not shown, it may hold a credential): " +
			"write s3://bucket/prefix/, gs://bucket/prefix/ or file:///dir/")
	case strings.Count(s, "://") > 1:
		return u, errors.New("holds more than one URL: several sources need a file (DAGBUCKET_CONFIG)")
	case err == nil && strings.TrimSpace(s) != s:
		return u, fmt.Errorf("%s begins or ends with a space: remove it", quote(s))
	case err == nil && (!utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)):
		return u, fmt.Errorf("%s holds a control character or is not UTF-8: use printable characters", quote(s))
	}
	return u, err
}

var routeName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

func parseRouteName(s string) (string, error) {
	if !routeName.MatchString(s) {
		return "", fmt.Errorf("%s is not a route's name: use 1 to 63 lower-case letters, digits and dashes", quote(s))
	}
	return s, nil
}

var astroID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func parseAstroID(s string) (string, error) {
	if !astroID.MatchString(s) { // not shown: it may be a token in the wrong place
		return "", errors.New("is not an ID of Astro: use letters and digits as Astro shows them, such as clmh57jtm000008lb58fe2wmv")
	}
	return s, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err == nil && d < 0:
		return 0, fmt.Errorf("%s is negative: use 0s or more", quote(s))
	case err == nil:
		return d, nil
	case isNumber(s):
		return 0, fmt.Errorf("%s has no unit: write %ss for seconds, or %sm for minutes", quote(s), s, s)
	default:
		return 0, fmt.Errorf("%s is not a duration: write a number and a unit, such as 10s, 3m or 1m30s", quote(s))
	}
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

var (
	sizeForm  = regexp.MustCompile(`^([0-9]+) ?([kKMGT]?i?B)?$`)
	sizeUnits = map[string]int64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
	}
)

// parseSize returns bytes.
func parseSize(s string) (int64, error) {
	form := sizeForm.FindStringSubmatch(s)
	if form == nil {
		return 0, fmt.Errorf("%s is not a size: write a whole number of bytes, or one with a unit, such as 500MB or 2GiB", quote(s))
	}
	unit, known := sizeUnits[strings.ToUpper(form[2])]
	n, err := strconv.ParseInt(form[1], 10, 64)
	if !known || err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%s is not a possible size: write one such as 2GiB", quote(s))
	}
	return n * unit, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is not a count: write a whole number from 0 to %d in plain digits", quote(s), math.MaxInt32)
	}
	return int(n), nil
}

func parsePercent(s string) (int, error) {
	n, err := parseCount(s)
	if err != nil || n > 100 {
		return 0, fmt.Errorf("%s is not a percentage: write a whole number from 0 to 100", quote(s))
	}
	return n, nil
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, fmt.Errorf("%s is neither true nor false: write one of them", quote(s))
	}
}

// oneOf accepts the given words only.
func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if slices.Contains(words, s) {
			return s, nil
		}
		shown := make([]string, len(words))
		for i, word := range words {
			if shown[i] = word; word == "" {
				shown[i] = `"" (empty)`
			}
		}
		return "", fmt.Errorf("%s is not possible here: use %s", quote(s), strings.Join(shown, " or "))
	}
}

func parseSyntax(s string) (string, error) {
	return oneOf("keep-last-good", "hold", "warn", "off")(s)
}

// parseMount accepts a safe relative path; one slash at its end is dropped.
func parseMount(s string) (string, error) {
	mount := strings.TrimSuffix(s, "/")
	bad := func(repair string) (string, error) { return "", fmt.Errorf("%s is not a mount: %s", quote(s), repair) }
	switch {
	case s == "":
		return "", nil
	case strings.HasPrefix(s, "/"):
		return bad("it lies below the base folder; write it without the leading slash")
	case strings.Contains(s, `\`):
		return bad("separate folders with /, not with a backslash")
	case !utf8.ValidString(s), strings.ContainsFunc(s, unicode.IsControl):
		return bad("it holds a control character or is not UTF-8; use printable characters")
	case path.Clean(mount) != mount || mount == "." || mount == ".." || strings.HasPrefix(mount, "../"):
		return bad("it has an empty, . or .. segment; write a plain path such as a/b")
	case len(mount) > 512 || slices.ContainsFunc(strings.Split(mount, "/"), func(p string) bool { return len(p) > 255 }):
		return bad("it is too long; use at most 255 bytes a folder, and 512 in all")
	}
	return mount, nil
}

const referenceForms = "env:NAME, file:PATH, aws-sm:ARN[#json-key], aws-ssm:NAME or gcp-sm:projects/…/secrets/…/versions/latest"

var references = map[string]*regexp.Regexp{
	"env":     regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`),
	"file":    regexp.MustCompile(`^[^\x00-\x1f]+$`),
	"aws-sm":  regexp.MustCompile(`^[A-Za-z0-9/_+=.@:!-]+(#[^\x00-\x1f]+)?$`),
	"aws-ssm": regexp.MustCompile(`^[A-Za-z0-9/_.:-]+$`),
	"gcp-sm":  regexp.MustCompile(`^projects/[^/\s]+/secrets/[^/\s]+/versions/[^/\s]+$`),
}

// parseReference accepts where a secret is kept, and never shows what else stands there: it may be the secret.
func parseReference(s string) (string, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	form, known := references[scheme]
	if !known {
		return "", errors.New("is not a reference (its value is not shown): " +
			"never write a secret here, but where it is kept: " + referenceForms)
	}
	if !form.MatchString(rest) {
		return "", errors.New("is not a correct " + scheme + " reference (its value is not shown): write " + referenceForms)
	}
	return s, nil
}

// parseAstroURL accepts https, or plain http where nobody else listens; it drops the slash at the end.
func parseAstroURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(s, "?#") {
		return "", errors.New("is not the address of an API (its value is not shown): write one such as " + defaultAstroURL)
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		return "", fmt.Errorf("%s would send the API token in the clear: use https (plain http only to localhost)",
			quote(u.Scheme+"://"+u.Host))
	}
	return strings.TrimRight(s, "/"), nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
