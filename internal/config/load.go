package config

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

const maxFileBytes = 1 << 20

// variable is a setting of the environment's only route, and the key of the file that it stands for.
type variable struct{ name, in, key, tag string }

const (
	theRoute  = "routes[0]"
	theSource = "routes[0].sources[0]"
)

var variables = []variable{
	{"DAGBUCKET_STATE", "", "state", "!!str"},
	{"DAGBUCKET_SOURCE", theSource, "url", "!!str"},
	{"ASTRO_DEPLOYMENT_ID", theRoute, "deployment", "!!str"},
	{"ASTRO_ORGANIZATION_ID", theRoute, "organization", "!!str"},
	{"DAGBUCKET_TOKEN", theRoute, "token", "!!str"},
	{"DAGBUCKET_ROUTE", theRoute, "name", "!!str"},
	{"DAGBUCKET_QUIET_PERIOD", theRoute, "quiet_period", "!!str"},
	{"DAGBUCKET_MAX_WAIT", theRoute, "max_wait", "!!str"},
	{"DAGBUCKET_SYNTAX", theRoute, "syntax", "!!str"},
	{"DAGBUCKET_REPLACE_EXISTING", theRoute, "replace_existing", "!!bool"},
}

// Load reads the configuration that the environment names: the YAML file of DAGBUCKET_CONFIG (a path, or an s3://,
// gs:// or file:// URL that open reads), or one route from DAGBUCKET_SOURCE and the variables beside it. An empty
// variable counts as not set. Load resolves no secret. Everything that is wrong is in one *Error; any other error is one
// of open's that may pass. open should stop reading after 1 MiB and a byte: Load refuses more than 1 MiB.
func Load(ctx context.Context, env func(string) string, open func(ctx context.Context, url string) ([]byte, error)) (*Config, error) {
	r := &reader{names: map[string]string{}, lines: map[string]int{}, bad: map[string]bool{}}
	c := &Config{AstroURL: defaultAstroURL, Follow: time.Minute, Memory: functionMemory(env, groupFile, oldGroupFile)}
	r.environment(env, c)
	source := env("DAGBUCKET_CONFIG")
	if source == "" {
		r.decode(r.routeOfEnvironment(env), c)
		return result(c, r.err(""))
	}
	r.refuseVariables(env)
	if err := r.readFile(ctx, source, open, c); err != nil {
		return nil, err
	}
	if !r.ok("DAGBUCKET_CONFIG") {
		source = "" // it may be a signed URL
	}
	return result(c, r.err(source))
}

func result(c *Config, err error) (*Config, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (r *reader) decode(root *yaml.Node, c *Config) {
	if root == nil {
		return
	}
	r.config(root, c)
	r.check(c)
}

// environment reads the settings that hold with a file and without.
func (r *reader) environment(env func(string) string, c *Config) {
	if s := env("ASTRO_API_URL"); s != "" {
		u, err := parseAstroURL(s)
		if err != nil {
			r.problem("ASTRO_API_URL", "%s", err)
		}
		c.AstroURL = u
	}
	if s := env("DAGBUCKET_FOLLOW"); s != "" {
		d, err := parseDuration(s)
		if err != nil {
			r.problem("DAGBUCKET_FOLLOW", "%s", err)
		}
		c.Follow = d
	}
	if env("ASTRO_API_TOKEN") == "" {
		return
	}
	r.token = "env:ASTRO_API_TOKEN"
	if env("DAGBUCKET_TOKEN") != "" {
		r.problem("DAGBUCKET_TOKEN", "is set together with ASTRO_API_TOKEN: remove one of them")
	}
}

// refuseVariables reports the settings of a single route that a file would silently overrule.
func (r *reader) refuseVariables(env func(string) string) {
	for _, v := range variables {
		if env(v.name) != "" && r.ok(v.name) {
			r.problem(v.name, "is set together with DAGBUCKET_CONFIG, which holds this setting: remove one of them")
		}
	}
}

// routeOfEnvironment builds the nodes that a file with the same settings would have, so that both are read and
// checked by the same code. It returns nil if nothing is set at all.
func (r *reader) routeOfEnvironment(env func(string) string) *yaml.Node {
	source := &yaml.Node{Kind: yaml.MappingNode}
	route := &yaml.Node{Kind: yaml.MappingNode}
	root := &yaml.Node{Kind: yaml.MappingNode}
	add(route, "sources", sequence(source))
	add(root, "routes", sequence(route))
	places := map[string]*yaml.Node{"": root, theRoute: route, theSource: source}
	given := 0
	for _, v := range variables {
		r.names[join(v.in, v.key)] = v.name
		value := env(v.name)
		if value != "" {
			given++
		} else if v.name == "DAGBUCKET_ROUTE" {
			value = "default"
		}
		if value != "" {
			add(places[v.in], v.key, &yaml.Node{Kind: yaml.ScalarNode, Tag: v.tag, Value: value})
		}
	}
	if env("DAGBUCKET_TOKEN") == "" {
		r.names[theRoute+".token"] = "ASTRO_API_TOKEN or DAGBUCKET_TOKEN"
	}
	if given == 0 {
		r.problem("DAGBUCKET_CONFIG", "is not set: set it to the configuration file's path or s3:// URL, "+
			"or set DAGBUCKET_SOURCE, DAGBUCKET_STATE, ASTRO_DEPLOYMENT_ID and ASTRO_API_TOKEN for one route")
		return nil
	}
	return root
}

func add(mapping *yaml.Node, key string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
}

func sequence(item *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}}
}

// shown is what a key is called in messages.
func (r *reader) shown(key string) string { return cmp.Or(r.names[key], key) }

// readFile fills c from the file. Its error is one that may pass; all others are problems.
func (r *reader) readFile(ctx context.Context, source string, open func(context.Context, string) ([]byte, error), c *Config) error {
	scheme, _, isURL := strings.Cut(source, "://")
	if isURL && !slices.Contains([]string{"s3", "gs", "file"}, scheme) {
		r.problem("DAGBUCKET_CONFIG", "is no URL that can be read here (not shown): use a path, or an s3://, gs:// or file:// URL")
		return nil
	}
	if !isURL {
		open = readPath
	}
	data, err := open(ctx, source)
	switch {
	case err != nil && isURL && len(r.problems) == 0 && !isPermanent(err):
		return fmt.Errorf("read the configuration %s: %w", quote(source), err)
	case err != nil:
		r.problem("", "cannot be read: %s: correct DAGBUCKET_CONFIG, or put the file there and allow reading it", oneLine(err))
	case len(data) > maxFileBytes:
		r.problem("", "is larger than 1 MiB: is DAGBUCKET_CONFIG the right file?")
	default:
		r.decode(r.parse(data), c)
	}
	return nil
}

func readPath(_ context.Context, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileBytes+1))
}

func isPermanent(err error) bool {
	var p interface{ Permanent() bool }
	return bucket.Permanent(err) || errors.Is(err, bucket.ErrNotExist) || errors.Is(err, fs.ErrNotExist) ||
		errors.As(err, &p) && p.Permanent()
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// parse returns the root of the file's only document, or nil after a problem.
func (r *reader) parse(data []byte) *yaml.Node {
	var document, second yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(data))
	err := documents.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && document.Content[0].ShortTag() == "!!null" {
		r.problem("", "is empty: write at least state and one route")
		return nil
	}
	if err == nil {
		if err = documents.Decode(&second); errors.Is(err, io.EOF) {
			return document.Content[0]
		}
	}
	if err == nil {
		r.problem("", "holds a second YAML document from line %d on: keep one, without a line of three dashes between", second.Line)
		return nil
	}
	text := strings.TrimPrefix(oneLine(err), "yaml: ")
	if strings.HasPrefix(text, "unknown anchor") { // the name may be the beginning of a secret
		text = "an alias (*name) has no anchor (&name) before it; a text that begins with * needs quotes"
	}
	r.problem("", "is not YAML: %s: look at the indentation and the quotes near there", strings.Replace(text, "line ", "near line ", 1))
	return nil
}
