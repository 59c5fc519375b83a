// Package internal_test checks how the packages of the project may depend on each other.
package internal_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/dagbucket/dagbucket/"

// rule is what one package may import in its own code; tests are free.
type rule struct {
	pkg   string
	may   string // besides the standard library: packages of this project, exactly, and modules with all they hold
	mayNo string // packages of the standard library that it must do without
}

const (
	awsSDK     = "github.com/aws/aws-sdk-go-v2 github.com/aws/smithy-go"
	googleSDK  = "cloud.google.com/go google.golang.org/api github.com/googleapis/gax-go golang.org/x/oauth2"
	edges      = "os os/exec os/signal net net/http syscall" // the outside world
	noEnv      = "os os/exec os/signal syscall"
	testServer = "internal/astro/astrotest internal/s3server internal/gcsserver"
	belowWire  = "internal/promotion internal/deployer internal/state internal/selection internal/bundle internal/pysyntax internal/statuspage internal/notify " +
		"internal/astro internal/event internal/config internal/secret internal/bucket"
)

// table has one line for each package, top down: a package imports only what stands below it. A line may be there before its package.
var table = []rule{
	{"functions/lambda", "internal/awswire internal/lambdahandler internal/service github.com/aws/aws-lambda-go " + belowWire, "net/http"},
	{"functions/cloudfunction", "internal/gcpwire internal/cloudrunhandler internal/service github.com/GoogleCloudPlatform/functions-framework-go " +
		"cloud.google.com/go/functions " + belowWire, ""},
	{"functions/dagbucket", "internal/awswire internal/gcpwire internal/demo internal/service github.com/alecthomas/kong golang.org/x/term " +
		"internal/doctor/awsdoctor internal/doctor/gcpdoctor internal/doctor " + belowWire, ""},
	{"internal/doctor/awsdoctor", "internal/doctor internal/bucket/s3bucket internal/bucket " + awsSDK, "os"},
	{"internal/doctor/gcpdoctor", "internal/doctor internal/googleauth google.golang.org/grpc " + googleSDK, "os"},
	{"internal/doctor", "internal/service " + belowWire, "os os/exec os/signal net syscall"},
	{"internal/lambdazip", "internal/fixedzip", "net/http"},
	{"internal/functionzip", "internal/fixedzip", "net/http"},
	{"internal/fixedzip", "", "net/http"},
	{"internal/demo", "internal/cloudrunhandler internal/service " + testServer + " " + belowWire + " golang.org/x/sync", "os"},
	{"internal/lambdahandler", "internal/service internal/deployer internal/event", edges},
	{"internal/cloudrunhandler", "internal/service internal/event", "os os/exec os/signal net syscall"},
	{"internal/service", belowWire + " internal/notify/webhook golang.org/x/sync", edges},
	{"internal/promotion", "internal/deployer internal/state internal/selection internal/bundle internal/bucket golang.org/x/sync", edges},
	{"internal/deployer", "internal/state internal/selection internal/bundle internal/pysyntax internal/bucket golang.org/x/sync", edges},
	{"internal/statuspage", "internal/state", edges},
	{"internal/awswire", "internal/bucket/s3bucket internal/bucket/dirbucket internal/bucket internal/secret/awssecret internal/secret internal/notify/snsnotify internal/notify internal/state " + awsSDK, "os"},
	{"internal/gcpwire", "internal/bucket/gcsbucket internal/bucket/dirbucket internal/bucket internal/secret/gcpsecret internal/secret internal/notify/pubsubnotify internal/notify " + googleSDK, "os"},
	{"internal/notify/notifytest", "internal/state", edges},
	{"internal/notify/snsnotify", "internal/notify internal/state " + awsSDK, "os"},
	{"internal/notify/pubsubnotify", "internal/notify internal/state internal/googleauth internal/network " + googleSDK, "os"},
	{"internal/notify/webhook", "internal/notify internal/state internal/network", "os"},
	{"internal/notify", "internal/state github.com/cenkalti/backoff/v5", edges},
	{"internal/state", "internal/bundle internal/bucket github.com/klauspost/compress", edges},
	{"internal/selection", "internal/bucket github.com/bmatcuk/doublestar/v4", edges},
	{"internal/bundle", "github.com/klauspost/compress", edges},
	{"internal/pysyntax/compile", "internal/pysyntax", "net/http"},
	{"internal/pysyntax/updateruff", "internal/pysyntax internal/pysyntax/meter github.com/klauspost/compress", "net/http"},
	{"internal/pysyntax", "internal/pysyntax/meter github.com/tetratelabs/wazero golang.org/x/text github.com/klauspost/compress", "os/exec os/signal net net/http"},
	{"internal/pysyntax/meter", "", edges},
	{"internal/astro/astrotest", "", "os"},
	{"internal/astro", "internal/network github.com/cenkalti/backoff/v5", noEnv},
	{"internal/s3server", "github.com/johannesboyne/gofakes3", "os"},
	{"internal/gcsserver", "github.com/fsouza/fake-gcs-server", "os"},
	{"internal/event", "github.com/aws/aws-lambda-go", noEnv + " net/http"},
	{"internal/config", "internal/bucket go.yaml.in/yaml/v3", "net/http"},
	{"internal/secret/awssecret", "internal/secret " + awsSDK, "os"},
	{"internal/secret/gcpsecret", "internal/googleauth internal/secret github.com/cenkalti/backoff/v5 " + googleSDK, "os"},
	{"internal/secret", "golang.org/x/sync", "net/http"},
	{"internal/bucket/buckettest", "internal/bucket github.com/stretchr/testify golang.org/x/sync", edges},
	{"internal/bucket/s3bucket", "internal/network internal/bucket " + awsSDK, "os"},
	{"internal/bucket/gcsbucket", "internal/googleauth internal/network internal/bucket " + googleSDK, "os"},
	{"internal/googleauth", googleSDK, "os"},
	{"internal/network", "", "os os/exec os/signal"},
	{"internal/bucket/dirbucket", "internal/bucket", "net net/http"},
	{"internal/bucket/membucket", "internal/bucket", edges},
	{"internal/bucket", "", edges},
}

// homes says where a cloud's SDK may be imported, whatever the table says.
var homes = map[string][]string{
	"github.com/aws/aws-sdk-go-v2":                          {"internal/awswire", "internal/bucket/s3bucket", "internal/secret/awssecret", "internal/notify/snsnotify", "internal/doctor/awsdoctor"},
	"github.com/aws/smithy-go":                              {"internal/awswire", "internal/bucket/s3bucket", "internal/secret/awssecret", "internal/notify/snsnotify", "internal/doctor/awsdoctor"},
	"github.com/aws/aws-lambda-go":                          {"functions/lambda", "internal/event"},
	"cloud.google.com/go":                                   {"functions/cloudfunction", "internal/gcpwire", "internal/bucket/gcsbucket", "internal/googleauth", "internal/secret/gcpsecret", "internal/doctor/gcpdoctor"},
	"google.golang.org/api":                                 {"internal/bucket/gcsbucket", "internal/secret/gcpsecret", "internal/notify/pubsubnotify", "internal/doctor/gcpdoctor"},
	"github.com/GoogleCloudPlatform/functions-framework-go": {"functions/cloudfunction"},
}

// strangers are what a function must not even link: the other cloud, and what only tests, the demo or the command line need.
var strangers = map[string]string{
	"functions/lambda": "cloud.google.com/go google.golang.org/api github.com/johannesboyne/gofakes3 github.com/alecthomas/kong github.com/stretchr/testify " +
		"internal/demo internal/s3server internal/gcsserver github.com/fsouza/fake-gcs-server internal/astro/astrotest internal/bucket/buckettest " +
		"internal/bucket/membucket internal/doctor internal/doctor/awsdoctor internal/doctor/gcpdoctor testing",
	"functions/cloudfunction": "github.com/aws/aws-sdk-go-v2 github.com/aws/aws-lambda-go github.com/johannesboyne/gofakes3 github.com/alecthomas/kong " +
		"github.com/stretchr/testify internal/demo internal/s3server internal/gcsserver github.com/fsouza/fake-gcs-server internal/astro/astrotest " +
		"internal/bucket/buckettest internal/bucket/membucket internal/doctor internal/doctor/awsdoctor internal/doctor/gcpdoctor testing",
}

func TestImportsFollowTheTable(t *testing.T) {
	t.Parallel()
	imports := projectImports(t)
	for _, pkg := range []string{"internal/selection", "internal/bucket", "functions/lambda"} {
		require.NotEmpty(t, imports[pkg], "%s was not found: this test reads the wrong folder", pkg)
	}
	require.Empty(t, breaches(table, imports))
}

func TestEachCloudStaysInItsPackages(t *testing.T) {
	t.Parallel()
	require.Empty(t, strays(homes, projectImports(t)))
}

func TestLambdaLinksOnlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	projectImports(t) // it opens every file, so that a cached result does not outlive a change
	for main, unwanted := range strangers {
		if _, err := os.Stat(filepath.Join("..", main)); os.IsNotExist(err) {
			require.NotEqual(t, "functions/lambda", main)
			continue
		}
		cmd := exec.Command("go", "list", "-deps", "./"+main)
		cmd.Dir = ".."
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		linked := strings.Fields(strings.ReplaceAll(string(out), module, ""))
		require.Contains(t, linked, main)
		require.Empty(t, among(linked, unwanted), "%s links what it must not", main)
	}
}

func TestImportTablePointsDownwards(t *testing.T) {
	t.Parallel()
	require.Empty(t, upwards(table))
	require.Equal(t, []string{"internal/a may import internal/b, which does not stand below it", "internal/b may import internal/c, which does not stand below it"},
		upwards([]rule{{"internal/b", "internal/c", ""}, {"internal/a", "internal/b internal/x", ""}, {"internal/x", "example.com/lib", ""}}))
}

// TestImportCheckersFindBreaches shows that the tests above can fail.
func TestImportCheckersFindBreaches(t *testing.T) {
	t.Parallel()
	rules := []rule{
		{"internal/top", "internal/low example.com/lib", "os net/http"},
		{"internal/low", "", ""},
		{"internal/later", "", ""},
	}
	for name, c := range map[string]struct {
		pkg     string
		imports []string
		want    []string
	}{
		"allowed":                 {"internal/top", []string{"fmt", "net/url", "internal/low", "example.com/lib", "example.com/lib/sub"}, nil},
		"standard library":        {"internal/low", []string{"os", "net/http", "encoding/json"}, nil},
		"forbidden standard":      {"internal/top", []string{"fmt", "os"}, []string{"internal/top must do without os"}},
		"only the exact one":      {"internal/top", []string{"os/user"}, nil},
		"upwards":                 {"internal/low", []string{"internal/top"}, []string{"internal/low may not import internal/top"}},
		"below an allowed one":    {"internal/top", []string{"internal/low/sub"}, []string{"internal/top may not import internal/low/sub"}},
		"other library":           {"internal/low", []string{"example.com/lib"}, []string{"internal/low may not import example.com/lib"}},
		"library of similar name": {"internal/top", []string{"example.com/library"}, []string{"internal/top may not import example.com/library"}},
		"not in the table": {"internal/new", []string{"fmt"},
			[]string{"internal/new has no line in the table of internal/architecture_test.go: add one with what it may import"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, breaches(rules, map[string][]string{c.pkg: c.imports}))
		})
	}
	require.Equal(t, []string{"internal/top imports cloud.example/sdk/storage, which belongs into [internal/store]"},
		strays(map[string][]string{"cloud.example/sdk": {"internal/store"}}, map[string][]string{
			"internal/top": {"cloud.example/sdk/storage", "cloud.example/sdkless"}, "internal/store": {"cloud.example/sdk"}}))
	require.Equal(t, []string{"cloud.example/sdk/x", "testing"},
		among([]string{"fmt", "cloud.example/sdk/x", "testing", "testing/fstest", "cloud.example/sdk2"}, "cloud.example/sdk testing"))
}

// breaches lists what the table does not allow.
func breaches(rules []rule, imports map[string][]string) []string {
	var found []string
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		at := slices.IndexFunc(rules, func(r rule) bool { return r.pkg == pkg })
		if at < 0 {
			found = append(found, pkg+" has no line in the table of internal/architecture_test.go: add one with what it may import")
			continue
		}
		for _, imported := range imports[pkg] {
			switch {
			case isStandard(imported) && slices.Contains(strings.Fields(rules[at].mayNo), imported):
				found = append(found, pkg+" must do without "+imported)
			case !isStandard(imported) && len(among([]string{imported}, rules[at].may)) == 0:
				found = append(found, pkg+" may not import "+imported)
			}
		}
	}
	return found
}

// strays lists imports of an SDK outside its homes.
func strays(homes map[string][]string, imports map[string][]string) []string {
	var found []string
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		for _, sdk := range slices.Sorted(maps.Keys(homes)) {
			if slices.Contains(homes[sdk], pkg) {
				continue
			}
			for _, imported := range among(imports[pkg], sdk) {
				found = append(found, fmt.Sprintf("%s imports %s, which belongs into %v", pkg, imported, homes[sdk]))
			}
		}
	}
	return found
}

// upwards lists the lines of a table that allow what does not stand below them.
func upwards(rules []rule) []string {
	var found []string
	for i, r := range rules {
		for _, may := range strings.Fields(r.may) {
			isBelow := slices.ContainsFunc(rules[i+1:], func(low rule) bool { return low.pkg == may })
			if !isBelow && !isModule(may) {
				found = append(found, r.pkg+" may import "+may+", which does not stand below it")
			}
		}
	}
	return slices.Sorted(slices.Values(found))
}

// among returns the packages that the list names: exactly, or for a module any package in it.
func among(packages []string, list string) []string {
	var found []string
	for _, p := range packages {
		if slices.ContainsFunc(strings.Fields(list), func(l string) bool { return p == l || isModule(l) && strings.HasPrefix(p, l+"/") }) {
			found = append(found, p)
		}
	}
	return found
}

// isModule tells modules, which begin with a domain, from packages of the project and of the standard library.
func isModule(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".")
}

func isStandard(p string) bool {
	return !isModule(p) && !strings.HasPrefix(p, "internal/") && !strings.HasPrefix(p, "functions/")
}

// projectImports reads what each package of this module imports outside its tests, for every platform and build tag. The project's own
// packages are named from its root.
func projectImports(t *testing.T) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	for _, root := range []string{"../functions", "../internal"} {
		require.NoError(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				_, err := os.Stat(filepath.Join(file, "go.mod"))
				if err == nil || d.Name() == "testdata" {
					return filepath.SkipDir // a module of its own has its own rules
				}
				return nil
			}
			if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return nil
			}
			pkg := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), "../")
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, spec := range parsed.Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				imports[pkg] = append(imports[pkg], strings.TrimPrefix(imported, module))
			}
			return nil
		}))
	}
	for pkg, list := range imports {
		imports[pkg] = slices.Compact(slices.Sorted(slices.Values(list)))
	}
	return imports
}
