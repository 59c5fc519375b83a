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
  project = "acme-data"
}

locals {
  # As `gcloud composer environments describe` prints it: <region>-<environment>-<hash>-bucket.
  composer_bucket = "europe-west1-acme-prod-1a2b3c4d-bucket"
}

module "dagbucket" {
  source = "../../gcp"

  project  = "acme-data"
  region   = "europe-west1"
  zip_file = var.zip_file

  # Only dags/ is read: not plugins/, data/ and logs/, whose many objects wake nobody either.
  routes = [{
    name       = "prod"
    deployment = "clmh57jtm000008lb58fe2wmv"
    sources    = [{ url = "gs://${local.composer_bucket}/dags/" }]
  }]
}
