# Project, key and secret that are made by the same apply, so that the plan does not know them.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.21, < 9.0"
    }
  }
}

resource "google_project" "this" {
  name   = "Acme data"
  org_id = "123456789012"
  # Unknown at plan, since the service account's address is.
  project_id = "acme-${substr(google_service_account.elsewhere.unique_id, 0, 8)}"
}

resource "google_service_account" "elsewhere" {
  project    = "acme-data"
  account_id = "elsewhere"
}

resource "google_kms_crypto_key" "this" {
  name     = "dagbucket"
  key_ring = "projects/acme-data/locations/europe-west1/keyRings/acme"
}

resource "google_secret_manager_secret" "this" {
  project   = "acme-data"
  secret_id = "astro"

  replication {
    auto {}
  }
}

module "dagbucket" {
  source = "../.."

  project             = google_project.this.project_id
  region              = "europe-west1"
  zip_file            = "tests/function.zip"
  kms_key             = google_kms_crypto_key.this.id
  use_kms_key         = true
  token_secret        = google_secret_manager_secret.this.id
  create_token_secret = false
  settle_seconds      = 0
  buckets             = { acme-dags = { create = false }, acme-spare = { create = false, location = "eu" } }

  routes = [{
    name       = "prod"
    deployment = "clmh57jtm000008lb58fe2wmv"
    sources    = [{ url = "gs://acme-dags/dags/" }]
    }, {
    name       = "test"
    deployment = "clmh57jtm000008lb58fe2tes"
    sources    = [{ url = "gs://acme-dags/test/" }]
    }, {
    # A route's own token must be known.
    name       = "spare"
    deployment = "clmh57jtm000008lb58fe2spa"
    sources    = [{ url = "gs://acme-spare/" }]
    token      = "gcp-sm:projects/acme-data/secrets/astro-spare/versions/latest"
    status     = "gs://acme-pages/spare/"
    notify     = ["pubsub:projects/acme-data/topics/dags", "slack:gcp-sm:projects/acme-data/secrets/slack/versions/latest"]
  }]
}
