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

module "dagbucket" {
  source   = "../../gcp"
  project  = "acme-data"
  region   = "europe-west1"
  zip_file = var.zip_file
  routes   = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }] }]
}
