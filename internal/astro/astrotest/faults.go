package astrotest

import (
	"io"
	"net/http"
)

// Call is one kind of request.
type Call string

const (
	ListOrganizations Call = "list organizations"
	ListDeployments   Call = "list Deployments"
	GetDeployment     Call = "get Deployment"
	ListDeploys       Call = "list deploys"
	GetDeploy         Call = "get deploy"
	CreateDeploy      Call = "create deploy"
	Upload            Call = "upload" // one PUT
	UploadBlock       Call = "upload block"
	CommitBlocks      Call = "commit blocks"
	Finalize          Call = "finalize"
	Rollback          Call = "rollback"
	Hibernation       Call = "hibernation override"
	ListImportErrors  Call = "list import errors" // of Airflow
)

// Fault changes how calls of one kind are answered. With the zero value of everything below Times, such a call is
// answered with 500 and has no effect.
type Fault struct {
	Call  Call
	Skip  int // calls that are answered well before
	Times int // calls that are answered badly; 0: one, negative: all

	TakesEffect bool            // the call is carried out first, and only its answer is replaced
	Wait        <-chan struct{} // the call, and its effect, wait until this is closed or the client has gone
	Hang        bool            // no answer ever: until the client goes away
	CutOff      bool            // the connection is cut in place of an answer
	Pass        bool            // after Wait, the call is answered as ever
	Status      int             // of the answer; 0: 500
	Header      http.Header     // of the answer
	Body        string          // of the answer; "": an error as the API writes it
	Message     string          // of the API's error

	skipped, used int
}

// Inject adds a fault. Of several faults that fit a call, the one that was added first and is not used up counts.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// begin counts a call and returns its fault, or nil.
func (s *Server) begin(call Call) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[call]++
	for _, f := range s.faults {
		if f.Call != call || f.Times >= 0 && f.used >= max(1, f.Times) {
			continue
		}
		if f.skipped < f.Skip {
			f.skipped++
			return nil
		}
		f.used++
		return f
	}
	return nil
}

// on serves one kind of call, faults included.
func (s *Server) on(call Call, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f := s.begin(call)
		if f == nil {
			serve(w, r)
			return
		}
		if f.Wait != nil {
			select {
			case <-f.Wait:
			case <-r.Context().Done():
			case <-s.closed:
			}
		}
		if f.Pass {
			serve(w, r)
			return
		}
		if f.TakesEffect {
			serve(unseen{}, r)
		}
		s.answerBadly(w, r, f)
	}
}

func (s *Server) answerBadly(w http.ResponseWriter, r *http.Request, f *Fault) {
	_, _ = io.Copy(io.Discard, r.Body) // the server notices that a client has gone only when its body is read
	if f.Hang {
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
	}
	if f.Hang || f.CutOff {
		panic(http.ErrAbortHandler)
	}
	status := f.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	for name, values := range f.Header {
		w.Header()[name] = values
	}
	if f.Body == "" {
		message := f.Message
		if message == "" {
			message = "a fault on request"
		}
		s.fail(w, status, message)
		return
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, f.Body)
}

// unseen takes an answer that nobody gets.
type unseen struct{}

func (unseen) Header() http.Header         { return http.Header{} }
func (unseen) Write(p []byte) (int, error) { return len(p), nil }
func (unseen) WriteHeader(int)             {}
