# An apply first: what is ignored is what was applied before. Without override_during, since an apply makes values of its own.
mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project        = "acme-data"
  region         = "europe-west1"
  zip_file       = "tests/function.zip"
  settle_seconds = 0
  routes = [{
    name       = "prod"
    deployment = "clmh57jtm000008lb58fe2wmv"
    sources    = [{ url = "gs://acme-dags/dags/" }]
  }]
}

run "first_apply" {
  command = apply

  assert {
    condition     = google_storage_bucket_object.code[0].source == "tests/function.zip"
    error_message = "The package is uploaded from where it lies."
  }
}

run "another_path_of_the_same_package" {
  command = plan

  variables {
    zip_file = "./tests/function.zip"
  }

  assert {
    condition     = google_storage_bucket_object.code[0].source == "tests/function.zip"
    error_message = "Another checkout of the project changes nothing."
  }
}
