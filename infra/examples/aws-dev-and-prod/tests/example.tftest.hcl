mock_provider "aws" {
  source          = "../../aws/tests/mocks"
  override_during = plan
}

variables {
  zip_file = "../../aws/tests/function.zip"
}

run "plan" {
  command = plan

  assert {
    condition     = keys(output.token_secrets) == ["dev", "prod"] && module.dagbucket.fill_token_command == null
    error_message = "Each Deployment should have a token of its own, and the module none."
  }

  assert {
    condition     = { for name, secret in aws_secretsmanager_secret.token : name => secret.name_prefix } == { dev = "astro/dev-", prod = "astro/prod-" }
    error_message = "A deleted secret's name would be blocked for days."
  }

  assert {
    condition     = strcontains(output.first_run, "aws lambda invoke --region eu-west-1 --function-name dagbucket ")
    error_message = "Nothing runs the routes for the first time."
  }
}

# As at a real first apply: nobody knows the secrets' ARNs yet.
run "plan_before_the_secrets_exist" {
  command = plan

  override_resource {
    target          = aws_secretsmanager_secret.token
    override_during = apply
  }

  assert {
    condition     = module.dagbucket.function_name == "dagbucket"
    error_message = "The module cannot be planned before the secrets exist."
  }
}
