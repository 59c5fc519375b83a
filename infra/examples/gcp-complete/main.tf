terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.21, < 9.0"
    }
  }
}

provider "google" {
  project = var.project

  # For the bucket whose readers pay: this project pays for what Terraform asks of it.
  user_project_override = true
  billing_project       = var.project
}

locals {
  region = "europe-west1"
}

# The module enables it too, but the key comes before the module.
resource "google_project_service" "kms" {
  project            = var.project
  service            = "cloudkms.googleapis.com"
  disable_on_destroy = false
}

resource "google_kms_key_ring" "this" {
  project  = var.project
  name     = "dagbucket"
  location = local.region

  depends_on = [google_project_service.kms]
}

resource "google_kms_crypto_key" "this" {
  name            = "dagbucket"
  key_ring        = google_kms_key_ring.this.id
  rotation_period = "7776000s"

  lifecycle {
    # Without the key, the state is lost.
    prevent_destroy = true
  }
}

module "dagbucket" {
  source = "../../gcp"

  project = var.project
  region  = local.region
  name    = "dag-sync"
  labels  = { team = "data-platform", environment = "prod" }

  routes = [
    {
      name = "prod"
      sources = [
        { url = "gs://acme-dags/dags/" },
        { url = "gs://acme-ml-team/dags/", mount = "ml", syntax = "hold" },
      ]
      deployment       = "clmh57jtm000008lb58fe2wmv"
      organization     = "clmg78a9d000008l7ek2m1a2b"
      quiet_period     = "10s"
      max_wait         = "3m"
      syntax           = "keep-last-good"
      guard            = { allow_empty = false, max_removed_percent = 50, max_removed_files = 10 }
      limits           = { max_files = 50000, max_bytes = "2GiB" }
      replace_existing = false
      on_drift         = "heal"
      base_dir         = "dags"
      keep_bundles     = 20
      status           = "gs://acme-dags-status/prod/"
      import_errors    = true
      notify = [
        "pubsub:projects/acme-data/topics/dag-deploys",
        "slack:gcp-sm:projects/acme-secrets/secrets/slack-dag-authors/versions/latest", # the webhook's address
        jsonencode({
          to     = "webhook:https://hooks.example.com/dags"
          secret = "gcp-sm:projects/acme-secrets/secrets/hooks/versions/latest" # signs the bodies
          format = "json"
          events = ["failed", "held", "recovered"]
        }),
      ]
    },
    {
      name       = "research"
      sources    = [{ url = "gs://acme-research/airflow/dags/" }]
      deployment = "clmh57jtm000008lb58fe2res"
      token      = "gcp-sm:projects/acme-secrets/secrets/astro-research/versions/latest"
    },
  ]

  buckets = {
    acme-dags     = { create = true, location = local.region }
    acme-research = { project = "acme-research", requester_pays = true }
  }

  # Made here, and so unknown at the first plan: hence the switch.
  kms_key     = google_kms_crypto_key.this.id
  use_kms_key = true
  kms_grants  = true

  settle_seconds = 90

  token_secret           = null
  create_token_secret    = true
  token_secret_locations = []
  astro_api_url          = "https://api.astronomer.io/v1"

  trigger                    = "pubsub"
  eventarc_agent_roles       = true
  schedule                   = "*/5 * * * *"
  scheduler_region           = local.region
  retry_min_backoff          = 30
  retry_max_backoff          = 600
  max_delivery_attempts      = 10
  message_retention_days     = 7
  dead_letter_retention_days = 31

  runtime       = "go126"
  memory        = "1Gi"
  cpu           = "1"
  timeout       = 540
  concurrency   = 80
  min_instances = 0
  max_instances = 5
  ingress       = "ALLOW_INTERNAL_ONLY"
  vpc           = { network = "acme", subnetwork = "functions", tags = ["dagbucket"] }

  zip_file           = var.zip_file
  zip_gcs            = null
  state_bucket       = "acme-data-dag-sync"
  state_version_days = 14

  enable_apis           = true
  log_retention_days    = 90
  alarms                = true
  alarm_emails          = ["data-platform@example.com"]
  notification_channels = ["projects/acme-data/notificationChannels/1234567890"]
  dashboard             = true
}
