package astrotest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const deploymentPath = "/organizations/{org}/deployments/{dep}"

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, call Call, serve func(http.ResponseWriter, *http.Request, *deployment)) {
		mux.HandleFunc(pattern, s.on(call, s.withDeployment(serve)))
	}
	mux.HandleFunc("GET /organizations", s.on(ListOrganizations, s.listOrganizations))
	mux.HandleFunc("GET /organizations/{org}/deployments", s.on(ListDeployments, s.listDeployments))
	handle("GET "+deploymentPath, GetDeployment, s.getDeployment)
	handle("POST "+deploymentPath+"/hibernation-override", Hibernation, s.overrideHibernation)
	handle("GET "+deploymentPath+"/deploys", ListDeploys, s.listDeploys)
	handle("POST "+deploymentPath+"/deploys", CreateDeploy, s.createDeploy)
	handle("GET "+deploymentPath+"/deploys/{deploy}", GetDeploy, s.withDeploy(s.getDeploy))
	mux.HandleFunc("POST "+deploymentPath+"/deploys/{deploy}/finalize", s.countAtOnce(s.on(Finalize, s.withDeployment(s.withDeploy(s.finalize)))))
	handle("POST "+deploymentPath+"/deploys/{deploy}/rollback", Rollback, s.withDeploy(s.rollback))
	mux.HandleFunc("PUT /blobs/{org}/{dep}", s.putBlob)
	s.airflowRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, http.StatusNotFound, r.Method+" "+r.URL.Path+" is not part of this stand-in")
	})
	return mux
}

type object = map[string]any

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// fail answers as the API does when it refuses.
func (s *Server) fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, object{"message": message, "requestId": "8a3b1e52-0000-4000-8000-000000000001", "statusCode": status})
}

// authorize checks the token for the organization of the path, and answers when it refuses.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) bool {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	c, ok := s.accepts(token)
	switch {
	case !bearer || !ok:
		s.fail(w, http.StatusUnauthorized, "Invalid authorization token")
	case r.PathValue("org") != "" && !c.mayUse(r.PathValue("org")):
		s.fail(w, http.StatusForbidden, "You are not authorized to perform this action in this Organization")
	default:
		return true
	}
	return false
}

// withDeployment serves a call about one Deployment under the lock. The body is read before, so that a slow client
// holds up nobody.
func (s *Server) withDeployment(serve func(http.ResponseWriter, *http.Request, *deployment)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.authorize(w, r) {
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			s.fail(w, http.StatusBadRequest, "the request body cannot be read")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.mu.Lock()
		defer s.mu.Unlock()
		d := s.find(r.PathValue("dep"))
		if d == nil || d.OrganizationID != r.PathValue("org") {
			s.fail(w, http.StatusNotFound, "Deployment not found")
			return
		}
		serve(w, r, d)
	}
}

func (s *Server) withDeploy(serve func(http.ResponseWriter, *http.Request, *deployment, *deploy)) func(http.ResponseWriter, *http.Request, *deployment) {
	return func(w http.ResponseWriter, r *http.Request, d *deployment) {
		one := d.find(r.PathValue("deploy"))
		if one == nil {
			s.fail(w, http.StatusNotFound, "Deploy not found")
			return
		}
		serve(w, r, d, one)
	}
}

func (s *Server) listOrganizations(w http.ResponseWriter, r *http.Request) {
	if !s.authorize(w, r) {
		return
	}
	shown := s.options.Organizations
	if shown == nil {
		for _, d := range s.deployments {
			if one := (Organization{d.OrganizationID, "Test Organization"}); !slices.Contains(shown, one) {
				shown = append(shown, one)
			}
		}
	}
	list := []object{}
	for _, o := range shown {
		list = append(list, object{"id": o.ID, "name": o.Name, "product": "HOSTED", "status": "ACTIVE", "supportPlan": "BUSINESS",
			"isScimEnabled": false, "createdAt": s.now(), "updatedAt": s.now(), "createdBy": subject(""), "updatedBy": subject("")})
	}
	answer(w, http.StatusOK, object{"organizations": list, "limit": 1000, "offset": 0, "totalCount": len(list)})
}

func (s *Server) listDeployments(w http.ResponseWriter, r *http.Request) {
	if !s.authorize(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []object{}
	for _, d := range s.deployments {
		if d.OrganizationID == r.PathValue("org") {
			list = append(list, s.deploymentJSON(d))
		}
	}
	answer(w, http.StatusOK, object{"deployments": list, "limit": 1000, "offset": 0, "totalCount": len(list)})
}

func (s *Server) getDeployment(w http.ResponseWriter, _ *http.Request, d *deployment) {
	answer(w, http.StatusOK, s.deploymentJSON(d))
}

func (s *Server) overrideHibernation(w http.ResponseWriter, r *http.Request, d *deployment) {
	var body struct {
		IsHibernating *bool      `json:"isHibernating"`
		OverrideUntil *time.Time `json:"overrideUntil"`
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || body.IsHibernating == nil {
		s.fail(w, http.StatusBadRequest, "isHibernating is required")
		return
	}
	d.Hibernating = *body.IsHibernating
	result := object{"isActive": true, "isHibernating": d.Hibernating}
	if body.OverrideUntil != nil {
		result["overrideUntil"] = body.OverrideUntil.UTC()
	}
	answer(w, http.StatusOK, result)
}

func (s *Server) listDeploys(w http.ResponseWriter, r *http.Request, d *deployment) {
	offset, okOffset := number(r, "offset", 0)
	limit, okLimit := number(r, "limit", 20)
	if !okOffset || !okLimit || offset < 0 || limit < 0 || limit > 1000 {
		s.fail(w, http.StatusBadRequest, "offset must be at least 0, limit from 0 to 1000")
		return
	}
	list := []object{}
	for i := len(d.deploys) - 1 - offset; i >= 0 && len(list) < limit; i-- {
		list = append(list, s.deployJSON(d, d.deploys[i]))
	}
	answer(w, http.StatusOK, object{"deploys": list, "limit": limit, "offset": offset, "totalCount": len(d.deploys)})
}

func number(r *http.Request, name string, absent int) (int, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return absent, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

func (s *Server) createDeploy(w http.ResponseWriter, r *http.Request, d *deployment) {
	var body struct {
		Type        string          `json:"type"`
		Description string          `json:"description"`
		Git         json.RawMessage `json:"git"`
	}
	switch {
	case json.NewDecoder(r.Body).Decode(&body) != nil:
		s.fail(w, http.StatusBadRequest, "the request body is not valid JSON")
	case !slices.Contains([]string{"IMAGE_AND_DAG", "IMAGE_ONLY", "DAG_ONLY", "BUNDLE"}, body.Type):
		s.fail(w, http.StatusBadRequest, "type must be one of IMAGE_AND_DAG, IMAGE_ONLY, DAG_ONLY, BUNDLE")
	case utf8.RuneCountInString(body.Description) > 500:
		s.fail(w, http.StatusBadRequest, "description must be at most 500 characters")
	case d.Hibernating:
		s.fail(w, http.StatusBadRequest, "Deploy is blocked because Deployment is in HIBERNATING state")
	default:
		one := s.newDeploy(d, body.Type, body.Description, "dagbucket-token")
		result := s.deployJSON(d, one)
		if !d.DAGDeploysOff {
			result["dagsUploadUrl"] = s.uploadURL(r, d)
		}
		answer(w, http.StatusOK, result)
	}
}

func (s *Server) getDeploy(w http.ResponseWriter, _ *http.Request, d *deployment, one *deploy) {
	answer(w, http.StatusOK, s.deployJSON(d, one))
}

func (s *Server) rollback(w http.ResponseWriter, r *http.Request, d *deployment, to *deploy) {
	var body struct {
		Description string `json:"description"`
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || utf8.RuneCountInString(body.Description) > 500 {
		s.fail(w, http.StatusBadRequest, "description must be at most 500 characters")
		return
	}
	if to.status != "DEPLOYED" {
		s.fail(w, http.StatusBadRequest, "only a deploy that was carried out can be rolled back to")
		return
	}
	one := s.newDeploy(d, to.kind, body.Description, "somebody")
	one.rollbackFrom, one.imageTag = to.id, to.imageTag
	s.finish(d, one, to.version)
	answer(w, http.StatusOK, s.deployJSON(d, one))
}

// countAtOnce notes how many finalizes of one Deployment are in progress together, those that a fault holds included.
func (s *Server) countAtOnce(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		add := func(n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if d := s.find(r.PathValue("dep")); d != nil {
				d.finalizing += n
				d.mostAtOnce = max(d.mostAtOnce, d.finalizing)
			}
		}
		add(1)
		defer add(-1)
		serve(w, r)
	}
}

// finalize may be repeated, and an older deploy may be finalized after a newer one: then the Deployment goes back, as
// the worst that the real one can do.
func (s *Server) finalize(w http.ResponseWriter, r *http.Request, d *deployment, one *deploy) {
	var body struct {
		Version string `json:"dagTarballVersion"`
	}
	switch {
	case json.NewDecoder(r.Body).Decode(&body) != nil:
		s.fail(w, http.StatusBadRequest, "the request body is not valid JSON")
	case d.DAGDeploysOff:
		s.fail(w, http.StatusBadRequest, "DAG deploys are not enabled on this Deployment")
	case d.Hibernating:
		s.fail(w, http.StatusBadRequest, "Deploy is blocked because Deployment is in HIBERNATING state")
	case !d.blob.has(body.Version):
		s.fail(w, http.StatusBadRequest, fmt.Sprintf("unknown DAG tarball version %q", body.Version))
	case one.status == "FAILED":
		s.fail(w, http.StatusBadRequest, "the deploy has failed")
	default:
		s.finish(d, one, body.Version)
		answer(w, http.StatusOK, s.deployJSON(d, one))
	}
}
