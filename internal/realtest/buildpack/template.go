package buildpack

import (
	"os"
	"text/template"
)

// mainTemplate has the effect of the buildpack's for version 1.1 and later of the functions framework.
var mainTemplate = template.Must(template.New("main.go").Parse(`package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	cloudevents "github.com/cloudevents/sdk-go/v2"

	userfunction {{printf "%q" .Package}}
)

func main() {
	if err := register(userfunction.{{.Target}}); err != nil {
		log.Fatalf("Function failed to register: %v\n", err)
	}
	for _, reserved := range []string{"/robots.txt", "/favicon.ico"} {
		http.HandleFunc(reserved, http.NotFound)
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	// Google's listens on all interfaces.
	if err := funcframework.StartHostPort("127.0.0.1", port); err != nil {
		log.Fatalf("Function failed to start: %v\n", err)
	}
}

// register takes the function for what its type says: HTTP, a CloudEvent, or a background event.
func register(function any) error {
	ctx := context.Background()
	switch f := function.(type) {
	case func(http.ResponseWriter, *http.Request):
		return funcframework.RegisterHTTPFunctionContext(ctx, "/", f)
	case func(context.Context, cloudevents.Event) error:
		return funcframework.RegisterCloudEventFunctionContext(ctx, "/", f)
	}
	return funcframework.RegisterEventFunctionContext(ctx, "/", function)
}
`))

func writeMain(path, pkg, target string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = mainTemplate.Execute(file, struct{ Package, Target string }{pkg, target})
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}
