package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/doctor"
	"github.com/dagbucket/dagbucket/internal/doctor/awsdoctor"
	"github.com/dagbucket/dagbucket/internal/doctor/gcpdoctor"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
)

type doctorCmd struct {
	Route string `placeholder:"NAME" help:"Look at this route only; else at all."`
	Deep  bool   `help:"Also prove the right to deploy, by a deploy that is created and never finalized: Astro's history shows it."`
	JSON  bool   `name:"json" help:"Print one JSON object on standard output."`
}

// Run checks the set-up.
func (d doctorCmd) Run(ctx context.Context, c *console) error {
	report := doctor.Run(ctx, c.doctorOptions(d))
	if d.JSON {
		if err := c.printJSON(report); err != nil {
			return err
		}
	} else {
		report.Write(c.out, c.outTerminal)
	}
	if code := report.ExitCode(); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

func (c *console) doctorOptions(d doctorCmd) doctor.Options {
	aws, google := awswire.New(c.env), gcpwire.New(c.env)
	buckets := aws.Buckets().With(google.Buckets())
	place, sum := c.env("DAGBUCKET_CONFIG"), ""
	o := doctor.Options{
		Load: func(ctx context.Context) (*config.Config, error) {
			return config.Load(ctx, c.env, func(ctx context.Context, url string) ([]byte, error) {
				content, err := buckets.ReadURL(ctx, url)
				if hash := sha256.Sum256(content); err == nil {
					sum = hex.EncodeToString(hash[:])
				}
				return content, err
			})
		},
		Route: d.Route, Deep: d.Deep, Version: version,
		Buckets: buckets, Secrets: aws.Secrets().With(google.Secrets()),
		Clouds:       map[string]doctor.Cloud{"s3": awsdoctor.New(c.env), "gs": gcpdoctor.New(c.env, nil)},
		Settings:     map[string]string{},
		ConfigSHA256: func() string { return sum },
	}
	if strings.Contains(place, "://") {
		o.Place = place
	}
	names := []string{"DAGBUCKET_CONFIG"}
	if place == "" {
		names = []string{"DAGBUCKET_SOURCE", "DAGBUCKET_STATE", "ASTRO_DEPLOYMENT_ID"}
	}
	for _, name := range names {
		o.Settings[name] = c.env(name)
	}
	return o
}
