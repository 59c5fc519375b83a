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

run "eventarc_unknown_at_plan" {
  command = plan

  variables {
    project  = "acme-data"
    region   = "europe-west1"
    zip_file = "tests/function.zip"
    trigger  = "eventarc"
    # As an example of a key that is made by the same apply: it is not compared with the bucket's.
    kms_key     = "projects/acme-keys/locations/europe-west1/keyRings/acme/cryptoKeys/dagbucket"
    use_kms_key = true
    buckets     = { acme-dags = { create = true, kms_key = "projects/acme-keys/locations/europe-west1/keyRings/acme/cryptoKeys/dagbucket" } }
    routes      = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }] }]
  }

  assert {
    condition     = length(output.next_commands) == 5 && length(google_monitoring_alert_policy.threshold) == 2 && length(google_kms_crypto_key_iam_member.storage) == 2
    error_message = "Commands and alarms need nothing that Eventarc makes, and keys nothing that is unknown."
  }
}
