mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  zip_file = "tests/function.zip"
}

run "plan" {
  command = plan

  assert {
    condition     = module.dagbucket.function_name == "dagbucket" && module.dagbucket.state_bucket == "acme-data-dagbucket-state"
    error_message = "Names come from the defaults."
  }

  assert {
    condition     = length(module.dagbucket.source_buckets) == 0 && length(module.dagbucket.connect_commands) == 0
    error_message = "The bucket exists, and is connected without further ado."
  }

  assert {
    condition     = strcontains(output.next[0], "gcloud secrets versions add") && startswith(output.next[1], "gcloud scheduler jobs run dagbucket-reconcile")
    error_message = "The outputs say what comes next."
  }

  assert {
    condition     = yamldecode(module.dagbucket.config).routes[0].sources[0].url == "gs://acme-dags/dags/"
    error_message = "The configuration names the source."
  }
}
