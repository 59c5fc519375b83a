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
    condition     = yamldecode(module.dagbucket.config).routes[0].sources == [{ url = "gs://europe-west1-acme-prod-1a2b3c4d-bucket/dags/" }]
    error_message = "Only dags/ is read."
  }

  assert {
    condition     = length(module.dagbucket.source_buckets) == 0
    error_message = "Composer's bucket is no resource of the module, and cannot be changed or removed by it."
  }

  assert {
    condition     = length(output.next) == 2
    error_message = "The outputs say what comes next."
  }
}
