package config

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSizes(t *testing.T) {
	cases := map[string]int64{
		"0": 0, "17": 17, "5B": 5, "1kB": 1000, "1KB": 1000, "1KiB": 1024, "500MB": 500e6, "500 MiB": 500 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40,
		"2GB2": -1, "1.5GiB": -1, "-1": -1, "": -1, "GiB": -1, "1iB": -1, "1 PB": -1, "99999999TiB": -1, "99999999999999999999": -1, "0x10": -1,
	}
	for s, want := range cases {
		got, err := parseSize(s)
		if want < 0 {
			require.Error(t, err, s)
			continue
		}
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{"0": 0, "0s": 0, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "1.5h": 90 * time.Minute} {
		got, err := parseDuration(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for s, want := range map[string]string{
		"10": "has no unit: write 10s", "-1s": "is negative", "1:30": "is not a duration", "10 s": "is not a duration", "": "is not a duration",
		"1.5": "is not a duration", "9999999h": "is not a duration", "3d": "is not a duration",
	} {
		_, err := parseDuration(s)
		require.ErrorContains(t, err, want, s)
	}
}

func TestMounts(t *testing.T) {
	good := map[string]string{"": "", "ml": "ml", "ml/": "ml", "a/b": "a/b", "équipe 1/a+b": "équipe 1/a+b", "..a/b..": "..a/b.."}
	for s, want := range good {
		got, err := parseMount(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"/", "/a", ".", "..", "../a", "a/..", "a/../b", "a/./b", "./a", "a//b", "a//", `a\b`, "a\x00b", "a\nb", "\xff", strings.Repeat("a", 256), strings.Repeat("a/", 300)} {
		_, err := parseMount(s)
		require.ErrorContains(t, err, "is not a mount", "%q", s)
	}
}

func TestReferences(t *testing.T) {
	for _, s := range []string{
		"env:ASTRO_API_TOKEN", "file:/run/secrets/token", "file:token.txt", "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:a/b-AbCdEf",
		"aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-AbCdEf#the key", "aws-sm:name", "aws-ssm:/acme/astro",
		"gcp-sm:projects/acme/secrets/astro/versions/latest",
	} {
		got, err := parseReference(s)
		require.NoError(t, err, s)
		require.Equal(t, s, got)
	}
	for _, s := range []string{
		"SECRET", "", ":SECRET", "env:", "env:SECRET.X", "file:", "aws-sm:", "aws-sm:SECRET#", "aws-ssm:SECRET X", "gcp-sm:projects/SECRET/secrets/s",
		"vault:SECRET", "ENV:SECRET", " env:SECRET", "env:SECRET\n",
	} {
		_, err := parseReference(s)
		require.ErrorContains(t, err, "env:NAME, file:PATH, aws-sm:ARN[#json-key]", "%q", s)
		require.NotContains(t, err.Error(), "SECRET")
	}
}

func TestAstroURLs(t *testing.T) {
	good := map[string]string{
		"https://api.astronomer.io/v1":   "https://api.astronomer.io/v1",
		"https://api.astronomer.io/v1//": "https://api.astronomer.io/v1",
		"http://localhost:8080":          "http://localhost:8080",
		"http://127.8.9.1/v1":            "http://127.8.9.1/v1",
		"http://[::1]:80/v1":             "http://[::1]:80/v1",
	}
	for s, want := range good {
		got, err := parseAstroURL(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{
		"http://api.astronomer.io/v1", "http://localhost.evil.example/", "http://127.0.0.1.nip.io/", "http://10.0.0.1/", "http://[::ffff:8.8.8.8]/",
		"ftp://localhost/", "api.astronomer.io", "https://", "https://u:SECRET@localhost/", "https://localhost/?t=SECRET", "https://localhost/#SECRET",
		"https://localhost/%zzSECRET", "//localhost/", "https://localhost/?", "https://localhost/#", "https://:443/",
	} {
		_, err := parseAstroURL(s)
		require.Error(t, err, s)
		require.NotContains(t, err.Error(), "SECRET")
	}
}

func TestBucketURLs(t *testing.T) {
	for _, s := range []string{
		"", "acme", "https://acme.s3.amazonaws.com/?X-Amz-Signature=SECRET", "s3://KEY:SECRET@acme/dags/", "s3://acme/dags/ ", " s3://acme/", "s3://acme/a\tb/",
		"s3://a/,s3://b/", "s3:///dags/", "file://dags/", "s3://acme//dags/", "S3://acme/", "s3://acme/\xff/", "s3://acme/" + strings.Repeat("SECRET", 300),
	} {
		_, err := parseBucketURL(s)
		require.Error(t, err, "%q", s)
		require.NotContains(t, err.Error(), "SECRET")
	}
}

func TestUnknownKeysAreMatched(t *testing.T) {
	known := []string{"deployment", "keep_bundles", "max_wait", "name", "quiet_period", "token", "url"}
	for name, want := range map[string]string{
		"quietPeriod": "quiet_period", "quiet-period": "quiet_period", "QUIET_PERIOD": "quiet_period", "quite_period": "quiet_period",
		"deployement": "deployment", "tokn": "token", "names": "name", "uri": "url", "keep_bundle": "keep_bundles",
	} {
		require.Equal(t, "did you mean "+want+"?", suggestKey(name, known), name)
	}
	require.Contains(t, suggestKey("colour", known), "known here are deployment, keep_bundles")
	require.Contains(t, suggestKey("", known), "known here are")
	require.Contains(t, suggestKey("<<", known), "not supported")
}
