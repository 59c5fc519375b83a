package astrotest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

const base = "http://127.0.0.1/v1/organizations/" + astrotest.OrganizationID + "/deployments/" + astrotest.DeploymentID

// peer speaks to a server without the product's client.
type peer struct {
	*astrotest.Server
	t     *testing.T
	token string
}

func newPeer(t *testing.T, o astrotest.Options) *peer {
	return &peer{Server: astrotest.New(o), t: t, token: astrotest.Token(astrotest.OrganizationID, time.Now().Add(24*time.Hour))}
}

func (p *peer) send(method, target, body string, header http.Header) *http.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, target, strings.NewReader(body))
	require.NoError(p.t, err)
	if header != nil {
		r.Header = header
	}
	resp, err := p.Transport().RoundTrip(r)
	require.NoError(p.t, err)
	return resp
}

// api makes a call of the API and returns its answer.
func (p *peer) api(want int, method, path, body string) map[string]any {
	p.t.Helper()
	target := base + path
	if strings.HasPrefix(path, "http") {
		target = path
	}
	resp := p.send(method, target, body, http.Header{"Authorization": {"Bearer " + p.token}})
	content, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	require.Equal(p.t, want, resp.StatusCode, "%s", content)
	var answer map[string]any
	require.NoError(p.t, json.Unmarshal(content, &answer))
	return answer
}

func (p *peer) create() (id, uploadURL string) {
	p.t.Helper()
	answer := p.api(200, "POST", "/deploys", `{"type":"DAG_ONLY","description":"test"}`)
	require.Equal(p.t, "INITIALIZED", answer["status"])
	uploadURL, _ = answer["dagsUploadUrl"].(string)
	return answer["id"].(string), uploadURL
}

var blockBlob = http.Header{"X-Ms-Blob-Type": {"BlockBlob"}}

func (p *peer) upload(uploadURL, body string) (version string) {
	p.t.Helper()
	resp := p.send("PUT", uploadURL, body, blockBlob)
	require.Equal(p.t, 201, resp.StatusCode)
	return resp.Header.Get("x-ms-version-id")
}

func (p *peer) finalize(want int, deployID, version string) map[string]any {
	p.t.Helper()
	return p.api(want, "POST", "/deploys/"+deployID+"/finalize", fmt.Sprintf(`{"dagTarballVersion":%q}`, version))
}

func TestDeployGoesLiveAfterADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, astrotest.Options{LiveAfter: time.Minute})
		id, uploadURL := p.create()
		require.Contains(t, uploadURL, "&")
		require.Contains(t, uploadURL, "%2B")
		version := p.upload(uploadURL, "one")
		answer := p.finalize(200, id, version)
		require.Equal(t, []any{"DEPLOYED", version}, []any{answer["status"], answer["dagTarballVersion"]})

		d := p.api(200, "GET", "", "")
		require.Equal(t, []any{version, nil, "DEPLOYING"}, []any{d["desiredDagTarballVersion"], d["dagTarballVersion"], d["status"]})
		require.Nil(t, p.Live(astrotest.DeploymentID))
		time.Sleep(time.Minute)
		d = p.api(200, "GET", "", "")
		require.Equal(t, []any{version, version, "HEALTHY"}, []any{d["desiredDagTarballVersion"], d["dagTarballVersion"], d["status"]})
		require.Equal(t, "one", string(p.Live(astrotest.DeploymentID)))
		require.Equal(t, []astrotest.Finalized{{DeployID: id, Version: version, Type: "DAG_ONLY", Description: "test", At: time.Now().UTC().Add(-time.Minute)}},
			p.Finalized(astrotest.DeploymentID))
		require.Equal(t, map[astrotest.Call]int{astrotest.CreateDeploy: 1, astrotest.Upload: 1, astrotest.Finalize: 1, astrotest.GetDeployment: 2}, p.Calls())
	})
}

func TestUploadRefusals(t *testing.T) {
	tampered := func(u string) string {
		parsed, _ := url.Parse(u)
		q := parsed.Query()
		q.Set("se", "2099-01-01T00:00:00+00:00")
		parsed.RawQuery = q.Encode()
		return parsed.String()
	}
	for name, test := range map[string]struct {
		change func(string) string
		header http.Header
		later  time.Duration
		status int
		code   string
	}{
		"no blob type":      {header: http.Header{}, status: 400, code: "MissingRequiredHeader"},
		"token":             {header: http.Header{"X-Ms-Blob-Type": {"BlockBlob"}, "Authorization": {"Bearer x"}}, status: 400, code: "InvalidAuthenticationInfo"},
		"past its end":      {later: 10 * time.Minute, status: 403, code: "AuthenticationFailed"},
		"later end":         {change: tampered, status: 403, code: "AuthenticationFailed"},
		"wrong signature":   {change: func(u string) string { return strings.Replace(u, "sig=", "sig=A", 1) }, status: 403, code: "AuthenticationFailed"},
		"decoded signature": {change: func(u string) string { return strings.ReplaceAll(u, "%2B", "+") }, status: 403, code: "AuthenticationFailed"},
		"no signature":      {change: func(u string) string { u, _, _ = strings.Cut(u, "?"); return u }, status: 403, code: "AuthenticationFailed"},
		"another blob": {change: func(u string) string { return strings.Replace(u, astrotest.DeploymentID, "other", 1) },
			status: 403, code: "AuthenticationFailed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t, astrotest.Options{})
				_, uploadURL := p.create()
				time.Sleep(test.later)
				if test.change != nil {
					uploadURL = test.change(uploadURL)
				}
				if test.header == nil {
					test.header = blockBlob
				}
				resp := p.send("PUT", uploadURL, "x", test.header)
				require.Equal(t, test.status, resp.StatusCode)
				require.Equal(t, test.code, resp.Header.Get("x-ms-error-code"))
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Contains(t, string(body), "<Code>"+test.code+"</Code>")
				require.Empty(t, p.Uploads(astrotest.DeploymentID))
			})
		})
	}
}

// TestBlockUpload is what the official client does, and how two of them at once fail.
func TestBlockUpload(t *testing.T) {
	p := newPeer(t, astrotest.Options{})
	id, uploadURL := p.create()
	block := func(name, content string) {
		require.Equal(t, 201, p.send("PUT", uploadURL+"&comp=block&blockid="+name, content, nil).StatusCode)
	}
	commit := func(names ...string) *http.Response {
		list := "<BlockList><Latest>" + strings.Join(names, "</Latest><Latest>") + "</Latest></BlockList>"
		return p.send("PUT", uploadURL+"&comp=blocklist", list, nil)
	}
	block("MQ==", "one ")
	block("Mg==", "two")
	resp := commit("MQ==", "Mg==")
	require.Equal(t, 201, resp.StatusCode)
	p.finalize(200, id, resp.Header.Get("x-ms-version-id"))
	require.Equal(t, "one two", string(p.Live(astrotest.DeploymentID)))

	block("MQ==", "mine")
	p.upload(uploadURL, "somebody else's")
	resp = commit("MQ==")
	require.Equal(t, 400, resp.StatusCode)
	require.Equal(t, "InvalidBlockList", resp.Header.Get("x-ms-error-code"))
}

func TestAPIRefusals(t *testing.T) {
	p := newPeer(t, astrotest.Options{})
	id, uploadURL := p.create()
	version := p.upload(uploadURL, "x")
	require.Contains(t, p.finalize(400, id, "2020-01-01T00:00:00.0000000Z")["message"], "unknown DAG tarball version")
	p.finalize(404, "clvnone", version)
	p.api(400, "POST", "/deploys", `{"type":"DAG_ONLY","description":"`+strings.Repeat("é", 501)+`"}`)
	p.api(200, "POST", "/deploys", `{"type":"DAG_ONLY","description":"`+strings.Repeat("é", 500)+`"}`)
	p.api(400, "POST", "/deploys", `{"description":"no type"}`)
	p.api(400, "POST", "/deploys", `{`)
	p.api(400, "GET", "/deploys?limit=1001", "")
	p.api(400, "GET", "/deploys?offset=x", "")
	p.api(404, "GET", "/deploys/clvnone", "")
	p.api(404, "GET", strings.Replace(base, astrotest.DeploymentID, "clmnone", 1), "")
	p.api(403, "GET", strings.Replace(base, astrotest.OrganizationID, "clmnone", 1), "")
	p.api(404, "GET", "http://127.0.0.1/v1/nonsense", "")
	p.Update(astrotest.DeploymentID, func(d *astrotest.Deployment) { d.DAGDeploysOff = true })
	_, uploadURL = p.create()
	require.Empty(t, uploadURL)
	p.finalize(400, id, version)
	for name, token := range map[string]string{"none": "", "garbage": "x.y.z", "expired": astrotest.Token(astrotest.OrganizationID, time.Unix(1, 0))} {
		p.token = token
		require.Equal(t, float64(401), p.api(401, "GET", "", "")["statusCode"], name)
	}
}

func TestHibernation(t *testing.T) {
	p := newPeer(t, astrotest.Options{})
	p.api(200, "POST", "/hibernation-override", `{"isHibernating":true}`)
	require.Equal(t, "HIBERNATING", p.api(200, "GET", "", "")["status"])
	require.Equal(t, "Deploy is blocked because Deployment is in HIBERNATING state",
		p.api(400, "POST", "/deploys", `{"type":"DAG_ONLY"}`)["message"])
	p.api(200, "POST", "/hibernation-override", `{"isHibernating":false,"overrideUntil":"2030-01-01T00:00:00Z"}`)
	p.api(400, "POST", "/hibernation-override", `{}`)
	require.Equal(t, "HEALTHY", p.api(200, "GET", "", "")["status"])
	p.create()
}

func TestListAndRollBack(t *testing.T) {
	p := newPeer(t, astrotest.Options{})
	var deploys, versions []string
	for _, content := range []string{"one", "two"} {
		id, uploadURL := p.create()
		version := p.upload(uploadURL, content)
		p.finalize(200, id, version)
		deploys, versions = append(deploys, id), append(versions, version)
	}
	unfinished, _ := p.create()
	require.Equal(t, "two", string(p.Live(astrotest.DeploymentID)))
	p.api(400, "POST", "/deploys/"+unfinished+"/rollback", `{}`)
	back := p.api(200, "POST", "/deploys/"+deploys[0]+"/rollback", `{"description":"oops"}`)
	require.Equal(t, []any{deploys[0], versions[0], "DEPLOYED"}, []any{back["rollbackFromId"], back["dagTarballVersion"], back["status"]})
	require.Equal(t, "one", string(p.Live(astrotest.DeploymentID)))

	page := p.api(200, "GET", "/deploys?offset=1&limit=2", "")
	require.Equal(t, float64(4), page["totalCount"])
	var got []any
	for _, d := range page["deploys"].([]any) {
		got = append(got, d.(map[string]any)["id"])
	}
	require.Equal(t, []any{unfinished, deploys[1]}, got, "newest first")

	foreign, version := p.DeployFromOutside(astrotest.DeploymentID, "IMAGE_AND_DAG", "image", []byte("three"))
	_, desired := p.Versions(astrotest.DeploymentID)
	require.Equal(t, version, desired)
	require.NotEqual(t, "deploy-2026-01-01T00-00-00", p.api(200, "GET", "", "")["imageTag"])
	require.Equal(t, "DEPLOYED", p.api(200, "GET", "/deploys/"+foreign, "")["status"])
	p.FailDeploy(astrotest.DeploymentID, foreign)
	require.Equal(t, "FAILED", p.api(200, "GET", "/deploys/"+foreign, "")["status"])
	require.Equal(t, 5, p.Deploys(astrotest.DeploymentID))
}

func TestSeveralDeployments(t *testing.T) {
	p := newPeer(t, astrotest.Options{Deployments: []astrotest.Deployment{{}, {ID: "clm2", OrganizationID: "clmorg2"}},
		Organizations: []astrotest.Organization{{ID: "clmorg2", Name: "Two"}}})
	list := p.api(200, "GET", "http://127.0.0.1/platform/v1beta1/organizations/"+astrotest.OrganizationID+"/deployments", "")
	require.Equal(t, float64(1), list["totalCount"])
	require.Equal(t, "clmorg2", p.api(200, "GET", "http://127.0.0.1/v1/organizations", "")["organizations"].([]any)[0].(map[string]any)["id"])
	p.DeployFromOutside("clm2", "DAG_ONLY", "", []byte("theirs"))
	require.Nil(t, p.Live(astrotest.DeploymentID))
	require.Equal(t, "theirs", string(p.Live("clm2")))
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, astrotest.Options{})
		p.Inject(astrotest.Fault{Call: astrotest.CreateDeploy, Skip: 1, Times: 2, Status: 429, Header: http.Header{"Retry-After": {"3"}}, TakesEffect: true})
		p.Inject(astrotest.Fault{Call: astrotest.CreateDeploy, Status: 502, Body: "<html>"})
		p.create()
		for range 2 {
			resp := p.send("POST", base+"/deploys", `{"type":"DAG_ONLY"}`, http.Header{"Authorization": {"Bearer " + p.token}})
			require.Equal(t, []any{429, "3"}, []any{resp.StatusCode, resp.Header.Get("Retry-After")})
		}
		require.Equal(t, 3, p.Deploys(astrotest.DeploymentID), "they took effect")
		require.Equal(t, 502, p.send("POST", base+"/deploys", "", nil).StatusCode)
		p.create()
		require.Equal(t, 4, p.Deploys(astrotest.DeploymentID), "that one did not")

		p.Inject(astrotest.Fault{Call: astrotest.GetDeployment, CutOff: true})
		r, _ := http.NewRequestWithContext(t.Context(), "GET", base, nil)
		_, err := p.Transport().RoundTrip(r)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		p.Inject(astrotest.Fault{Call: astrotest.GetDeployment, Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = p.Transport().RoundTrip(r.WithContext(ctx))
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestConcurrentFinalizesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, astrotest.Options{})
		id, uploadURL := p.create()
		version := p.upload(uploadURL, "x")
		p.finalize(200, id, version)
		require.Equal(t, 1, p.MostFinalizesAtOnce(astrotest.DeploymentID))
		gate := make(chan struct{})
		p.Inject(astrotest.Fault{Call: astrotest.Finalize, Times: -1, Wait: gate, Pass: true})
		statuses := make(chan int, 3)
		for range 3 {
			r, err := http.NewRequestWithContext(t.Context(), "POST", base+"/deploys/"+id+"/finalize", strings.NewReader(`{"dagTarballVersion":"`+version+`"}`))
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+p.token)
			go func() {
				if resp, err := p.Transport().RoundTrip(r); err == nil {
					statuses <- resp.StatusCode
				}
			}()
		}
		synctest.Wait()
		require.Len(t, p.Finalized(astrotest.DeploymentID), 1)
		close(gate)
		require.Equal(t, []int{200, 200, 200}, []int{<-statuses, <-statuses, <-statuses})
		require.Len(t, p.Finalized(astrotest.DeploymentID), 4)
		require.Equal(t, 3, p.MostFinalizesAtOnce(astrotest.DeploymentID))
	})
}

func TestDiscardedArchives(t *testing.T) {
	p := newPeer(t, astrotest.Options{DiscardArchives: true})
	id, uploadURL := p.create()
	version := p.upload(uploadURL, "content")
	p.finalize(200, id, version)
	sum := sha256.Sum256([]byte("content"))
	up := p.Uploads(astrotest.DeploymentID)
	require.Len(t, up, 1)
	require.Equal(t, []any{version, int64(7), hex.EncodeToString(sum[:])}, []any{up[0].Version, up[0].Size, up[0].SHA256})
	require.Nil(t, up[0].Archive())
	require.Nil(t, p.Live(astrotest.DeploymentID))
}

// TestOldArchivesAreDropped: the newest and the one that runs stay.
func TestOldArchivesAreDropped(t *testing.T) {
	p := newPeer(t, astrotest.Options{})
	id, uploadURL := p.create()
	large := strings.Repeat("x", 30<<20)
	p.finalize(200, id, p.upload(uploadURL, large))
	for range 4 {
		p.upload(uploadURL, large)
	}
	var held []bool
	for _, up := range p.Uploads(astrotest.DeploymentID) {
		held = append(held, up.Archive() != nil)
	}
	require.Equal(t, []bool{true, false, false, true, true}, held)
}

func TestFiles(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var plain, zipped bytes.Buffer
	entries := tar.NewWriter(&plain)
	require.NoError(t, entries.WriteHeader(&tar.Header{Name: "dags/a.py", Size: 3, ModTime: when, Mode: 0o644}))
	_, err := entries.Write([]byte("a=1"))
	require.NoError(t, err)
	require.NoError(t, entries.Close())
	packer := gzip.NewWriter(&zipped)
	_, err = packer.Write(plain.Bytes())
	require.NoError(t, err)
	require.NoError(t, packer.Close())
	want := []astrotest.File{{Name: "dags/a.py", Size: 3, Modified: when, Content: []byte("a=1")}}

	s := astrotest.New(astrotest.Options{})
	for _, archive := range [][]byte{plain.Bytes(), zipped.Bytes()} {
		s.DeployFromOutside(astrotest.DeploymentID, "DAG_ONLY", "", archive)
		files, err := s.LiveFiles(astrotest.DeploymentID)
		require.NoError(t, err)
		require.Equal(t, want, files)
	}
	_, err = astrotest.Files(zipped.Bytes()[:20])
	require.Error(t, err)
}

// TestStart serves over a real connection; Close ends what hangs.
func TestStart(t *testing.T) {
	s := astrotest.New(astrotest.Options{})
	require.NoError(t, s.Start())
	resp, err := http.Get(s.URL() + "/organizations")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 401, resp.StatusCode)
	s.Inject(astrotest.Fault{Call: astrotest.ListOrganizations, Hang: true})
	time.AfterFunc(10*time.Millisecond, s.Close)
	_, err = http.Get(s.URL() + "/organizations")
	require.Error(t, err)
}
