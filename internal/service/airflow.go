package service

import (
	"context"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

// airflowAdapter is a client as the pipeline sees its Airflow.
type airflowAdapter struct{ client *astro.Client }

func (a airflowAdapter) ImportErrors(ctx context.Context) ([]deployer.ImportError, error) {
	found, err := a.client.ImportErrors(ctx)
	if err != nil {
		return nil, err
	}
	var list []deployer.ImportError
	for _, e := range found {
		list = append(list, deployer.ImportError{File: e.File, Trace: e.Trace, At: e.At})
	}
	return list, nil
}
