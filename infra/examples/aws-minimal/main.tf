terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.40, < 7.0"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

module "dagbucket" {
  source   = "../../aws"
  zip_file = var.zip_file
  routes = [{
    name       = "prod"
    sources    = [{ url = "s3://acme-dags/dags/" }]
    deployment = "clmh57jtm000008lb58fe2wmv"
  }]
}
