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
    condition     = module.dagbucket.source_buckets == tolist(["acme-dags"]) && module.dagbucket.state_bucket == "acme-data-dag-sync"
    error_message = "One source bucket is created."
  }

  assert {
    condition     = length(yamldecode(module.dagbucket.config).routes) == 2 && yamldecode(module.dagbucket.config).routes[1].token == "gcp-sm:projects/acme-secrets/secrets/astro-research/versions/latest"
    error_message = "Both routes are configured, the second with a token of its own."
  }

  assert {
    condition     = length(yamldecode(module.dagbucket.config).routes[0].notify) == 3 && !strcontains(module.dagbucket.config, "hooks.example.com")
    error_message = "People are told in three ways, and the address of a webhook is not shown."
  }

  assert {
    condition     = contains(module.dagbucket.required_apis, "cloudkms.googleapis.com") && length(output.before) == 6
    error_message = "The key's agents must be there before."
  }

  assert {
    condition     = google_project_service.kms.service == "cloudkms.googleapis.com" && !google_project_service.kms.disable_on_destroy && strcontains(file("main.tf"), "depends_on = [google_project_service.kms]")
    error_message = "The key's API is enabled before the key ring is made, and stays."
  }

  assert {
    condition     = strcontains(file("main.tf"), "user_project_override = true") && strcontains(file("main.tf"), "billing_project       = var.project") && output.next != null
    error_message = "Terraform names who pays, for the bucket whose readers pay."
  }

  assert {
    condition     = module.dagbucket.topic == "projects/acme-data/topics/dag-sync-events" && module.dagbucket.run_service_account == "dag-sync-run@acme-data.iam.gserviceaccount.com"
    error_message = "Names have the prefix."
  }
}
