package astrotest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ImportError is one of a Deployment's Airflow.
type ImportError struct {
	File  string // such as /usr/local/airflow/dags/a.py (Airflow 2) or a.py (Airflow 3)
	Trace string
	At    time.Time // zero: now
	DAGs  int       // how many DAGs the file had when it worked: Airflow 3 counts it as often, but at least once
}

// airflow is the Airflow of a Deployment. The server's lock guards it.
type airflow struct {
	errors []numbered
	lastID int64
	limit  int // of a page; 0: 100
}

type numbered struct {
	ImportError
	id int64
}

// SetImportErrors replaces what the Deployment's Airflow could not import.
func (s *Server) SetImportErrors(deploymentID string, list []ImportError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.find(deploymentID).airflow
	a.errors = nil
	for _, e := range list {
		if e.At.IsZero() {
			e.At = s.now()
		}
		a.lastID++
		a.errors = append(a.errors, numbered{e, a.lastID})
	}
}

// SetAirflowPageLimit sets the most that the Deployment's Airflow gives at once, whatever is asked for.
func (s *Server) SetAirflowPageLimit(deploymentID string, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(deploymentID).airflow.limit = limit
}

// airflow3 reports whether the Runtime is one of Airflow 3, such as 3.1-1 or 3.1-1-base.
func (d *deployment) airflow3() bool {
	line, _, dash := strings.Cut(d.RuntimeVersion, "-")
	return dash && strings.Count(line, ".") == 1
}

// release is the Deployment's part in the address of its Airflow.
func (d *deployment) release() string { return d.ID[max(0, len(d.ID)-8):] }

// airflowAddress is where a Deployment's Airflow API is: here, once the server has an address of its own.
func (s *Server) airflowAddress(address string) string {
	if s.address == "" {
		return address
	}
	_, path, _ := strings.Cut(address, "/")
	return s.address + "/" + path
}

func (s *Server) airflowRoutes(mux *http.ServeMux) {
	for _, version := range []string{"v1", "v2"} {
		mux.HandleFunc("GET /{release}/api/"+version+"/importErrors", s.on(ListImportErrors, func(w http.ResponseWriter, r *http.Request) {
			s.importErrors(w, r, version)
		}))
	}
}

func (s *Server) importErrors(w http.ResponseWriter, r *http.Request, version string) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	c, ok := s.accepts(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.deployments, func(d *deployment) bool { return d.release() == r.PathValue("release") })
	if i < 0 {
		answer(w, http.StatusNotFound, object{"detail": "Not Found"})
		return
	}
	d := s.deployments[i]
	offset, okOffset := number(r, "offset", 0)
	limit, okLimit := number(r, "limit", 50)
	switch {
	case !bearer || !ok:
		answer(w, http.StatusUnauthorized, object{"detail": "Not authenticated"})
	case !c.mayUse(d.OrganizationID):
		answer(w, http.StatusForbidden, object{"detail": "Forbidden"})
	case d.Hibernating:
		answer(w, http.StatusServiceUnavailable, object{"detail": "the Deployment hibernates"})
	case d.airflow3() && version == "v1":
		answer(w, http.StatusNotFound, object{"error": "/api/v1 has been removed in Airflow 3, please use its upgraded version /api/v2 instead."})
	case !d.airflow3() && version == "v2":
		answer(w, http.StatusNotFound, object{"detail": nil, "status": 404, "title": "Not Found", "type": "about:blank"})
	case !okOffset || !okLimit || offset < 0 || limit < 0:
		answer(w, http.StatusBadRequest, object{"detail": "limit and offset must be at least 0"})
	default:
		answer(w, http.StatusOK, d.importErrorPage(offset, limit))
	}
}

// importErrorPage is a page as Airflow gives it. Airflow 3 cuts and counts a file once for each of its DAGs, and then shows it once.
func (d *deployment) importErrorPage(offset, limit int) object {
	var rows []numbered
	for _, e := range d.airflow.errors {
		rows = append(rows, e)
		for n := 1; n < e.DAGs && d.airflow3(); n++ {
			rows = append(rows, e)
		}
	}
	most := cmp.Or(d.airflow.limit, 100)
	total := len(rows)
	rows = rows[min(offset, total):]
	rows = slices.CompactFunc(slices.Clone(rows[:min(limit, most, len(rows))]), func(a, b numbered) bool { return a.id == b.id })
	list := []object{}
	for _, e := range rows {
		one := object{"import_error_id": e.id, "timestamp": e.At.UTC().Format("2006-01-02T15:04:05.000000+00:00"), "filename": e.File, "stack_trace": e.Trace}
		if d.airflow3() {
			one["timestamp"], one["bundle_name"] = e.At.UTC().Format(time.RFC3339Nano), "dags-folder"
		}
		list = append(list, one)
	}
	return object{"import_errors": list, "total_entries": total}
}
