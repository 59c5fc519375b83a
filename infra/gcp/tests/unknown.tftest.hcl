# Without override_during: what a provider computes is unknown while this is planned, as it is at a first apply. The apply is a mocked one.
mock_provider "google" {
  source = "./tests/mocks"
}

run "ids_unknown_at_plan" {
  command = apply

  module {
    source = "./tests/unknown"
  }

  assert {
    condition     = output.config_url == "gs://acme-12345678-dagbucket-state/dagbucket.yaml"
    error_message = "Project, key and secret may be made by the same apply."
  }
}
