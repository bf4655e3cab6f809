#Requires -Version 5.1
<#
.SYNOPSIS
Deploys Aurora Discovery to AWS, updates it, or removes it. deploy.sh does the same on Linux and macOS.
docs/operations.md has the details.
.PARAMETER Environment
dev (default), staging or prod.
.PARAMETER Region
Default us-east-1.
.PARAMETER StackName
Default aurora-p2p-discovery for dev, aurora-p2p-discovery-ENV otherwise.
.PARAMETER Artifact
Deploy this zip of bootstrap instead of building one.
.PARAMETER Architecture
arm64 or x86_64; default: the stack's, arm64 for a new one.
.PARAMETER Parameter
Parameters of cloudformation.yaml as "KEY=VALUE","KEY=VALUE"; others keep their values.
.PARAMETER Delete
Remove the stack, after confirmation.
.PARAMETER Yes
Do not ask for confirmation.
.PARAMETER Help
Show this help.
#>
[CmdletBinding()]
param(
    [Alias('e')] [ValidateSet('dev', 'staging', 'prod')] [string] $Environment = 'dev',
    [Alias('r')] [string] $Region = 'us-east-1',
    [Alias('s')] [string] $StackName = '',
    [Alias('a')] [string] $Artifact = '',
    [ValidateSet('', 'arm64', 'x86_64')] [string] $Architecture = '',
    [Alias('p')] [string[]] $Parameter = @(),
    [switch] $Delete,
    [Alias('y')] [switch] $Yes,
    [Alias('h')] [switch] $Help
)

# A native command that fails throws no error: each call below checks $LASTEXITCODE instead.
$ErrorActionPreference = 'Continue'
$PSNativeCommandUseErrorActionPreference = $false
# The key of LastSeenIndex in cloudformation.yaml. A table with a different key has an older design.
$IndexKey = 'lane h'
$ArtifactsStack = 'aurora-p2p-artifacts'
$SmokeAttempts = 10

function Invoke-Main {
    Test-Tools
    $script:Account = Get-Account
    Read-Stack
    if ($Delete) {
        Remove-Stack
        return
    }
    Test-Table
    $script:Work = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    New-Item -ItemType Directory -Path $script:Work | Out-Null
    try {
        if (-not $script:Artifact) { Build-Function }
        Publish-Artifact
        Write-StampedTemplate
        Publish-Stack
    }
    finally {
        Remove-Item -Recurse -Force $script:Work
    }
    Write-Outputs
    Test-Deployment
}

function Test-Tools {
    if ($script:Artifact -and -not (Test-Path -LiteralPath $script:Artifact -PathType Leaf)) { Stop-Deployment "-Artifact $($script:Artifact): there is no such file" 2 }
    if (-not (Get-Command aws -ErrorAction SilentlyContinue)) {
        Stop-Deployment 'the AWS CLI is missing: install it from https://aws.amazon.com/cli/ (or: pip install awscli)'
    }
    if ($Delete -or $script:Artifact) { return }
    if (-not (Get-Command cargo -ErrorAction SilentlyContinue)) {
        Stop-Deployment 'cargo is missing: install Rust from https://rustup.rs, or pass a built -Artifact'
    }
    cargo lambda --version 2>$null | Out-Null
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'cargo-lambda is missing: pip install cargo-lambda ziglang, or pass a built -Artifact' }
}

function Get-Account {
    $found = aws sts get-caller-identity --query Account --output text 2>$null
    if ($LASTEXITCODE -ne 0) {
        Stop-Deployment "AWS did not accept the credentials: run 'aws configure' (or 'aws sso login'), or set AWS_PROFILE"
    }
    Write-Step "account $found, $Region, stack $($script:StackName), environment $Environment"
    return $found
}

# Sets Status (none if there is no stack, or only a change set for one) and, unless -Architecture
# was given, the stack's architecture.
function Read-Stack {
    $query = "Stacks[0].[StackStatus, Parameters[?ParameterKey=='Environment'] | [0].ParameterValue, Parameters[?ParameterKey=='Architecture'] | [0].ParameterValue]"
    # Not Out-String, which would wrap the lines of an error at the console's width.
    $found = (@(aws cloudformation describe-stacks --stack-name $script:StackName --query $query --output text 2>&1 | ForEach-Object { "$_" }) -join ' ').Trim()
    if ($LASTEXITCODE -ne 0) {
        if ($found -notmatch 'does not exist') { Stop-Deployment $found }
        $found = "none $Environment None"
    }
    $script:Status, $stackEnvironment, $stackArchitecture = -split $found
    if ($script:Status -eq 'REVIEW_IN_PROGRESS') { $script:Status = 'none' }
    if ($stackEnvironment -eq 'None' -and $script:Status -ne 'none') { Stop-Deployment "stack $($script:StackName) does not belong to Aurora Discovery: choose another -StackName" }
    if ($script:Status -ne 'none' -and $stackEnvironment -ne $Environment) {
        Stop-Deployment "stack $($script:StackName) belongs to environment $stackEnvironment, not ${Environment}: choose another -StackName, or -Environment $stackEnvironment"
    }
    if ($script:Status -like '*_IN_PROGRESS') { Stop-Deployment "stack $($script:StackName) is $($script:Status): wait until it has finished" }
    if ($stackArchitecture -eq 'None') { $stackArchitecture = 'arm64' }
    if (-not $script:Architecture) { $script:Architecture = $stackArchitecture }
}

function Test-Table {
    if ($script:Status -eq 'ROLLBACK_COMPLETE') {
        Write-Step 'removing the remains of a failed stack creation'
        aws cloudformation delete-stack --stack-name $script:StackName
        if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the stack could not be removed' }
        aws cloudformation wait stack-delete-complete --stack-name $script:StackName
        if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the stack could not be removed' }
        $script:Status = 'none'
    }
    $table = "aurora-peers-$Environment"
    $query = "Table.GlobalSecondaryIndexes[?IndexName=='LastSeenIndex'] | [0].KeySchema[].AttributeName"
    $key = aws dynamodb describe-table --table-name $table --query $query --output text 2>$null
    if ($LASTEXITCODE -ne 0) { return }
    if ($script:Status -eq 'none') {
        Stop-Deployment "table $table exists in $Region, but stack $($script:StackName) does not: either another stack owns the table (pass its -StackName), or it remains from a deleted stack (delete it)"
    }
    if ((-split $key) -join ' ' -ne $IndexKey) {
        Stop-Deployment @"
table $table has an older design: its index has another key ($key), and DynamoDB cannot change it.
No lasting data is lost, because peers register again when their leases end. Either remove the stack with -Delete and deploy again (the endpoint changes),
or deploy another -Environment, move the peers there, and then remove this one.
"@
    }
}

function Build-Function {
    $flag = if ($script:Architecture -eq 'arm64') { '--arm64' } else { '--x86-64' }
    $target = if ($script:Architecture -eq 'arm64') { 'aarch64-unknown-linux-gnu' } else { 'x86_64-unknown-linux-gnu' }
    $library = rustc --print target-libdir --target $target
    if ($LASTEXITCODE -ne 0 -or -not (Test-Path $library)) {
        Stop-Deployment "the Rust target $target is not installed: run 'rustup target add $target', or pass another -Architecture or a built -Artifact"
    }
    Write-Step "building the function for $($script:Architecture)"
    $manifest = Join-Path $PSScriptRoot '../../Cargo.toml'
    cargo lambda build --release $flag --package aurora-discovery-lambda --manifest-path $manifest --output-format zip --lambda-dir $script:Work
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the build failed' }
    $script:Artifact = Join-Path $script:Work 'bootstrap/bootstrap.zip'
}

# Sets Bucket, Key and Version. An artifact that is already stored is not uploaded again, so that a
# deployment without changes stays one.
function Publish-Artifact {
    $script:Bucket = "aurora-p2p-artifacts-$($script:Account)-$Region"
    $script:Key = "$($script:StackName)/aurora-lambda-$($script:Architecture).zip"
    aws s3api head-bucket --bucket $script:Bucket --expected-bucket-owner $script:Account 2>$null | Out-Null
    if ($LASTEXITCODE -ne 0) {
        Write-Step "creating the private bucket $($script:Bucket)"
        aws cloudformation deploy --stack-name $ArtifactsStack --template-file (Join-Path $PSScriptRoot 'artifacts.yaml') --no-fail-on-empty-changeset
        if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the bucket could not be created' }
    }
    $sum = (Get-FileHash -Algorithm SHA256 -LiteralPath $script:Artifact).Hash.ToLowerInvariant()
    $stored = aws s3api head-object --bucket $script:Bucket --key $script:Key --query '[Metadata.sha256,VersionId]' --output text 2>$null
    if ($LASTEXITCODE -ne 0) { $stored = 'None None' }
    $stored, $script:Version = -split $stored
    if ($stored -ne $sum) {
        Write-Step "uploading the function's code to $($script:Bucket)"
        $script:Version = aws s3api put-object --bucket $script:Bucket --key $script:Key --body $script:Artifact --metadata "sha256=$sum" --expected-bucket-owner $script:Account --query VersionId --output text
        if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the code could not be uploaded' }
    }
    if ($script:Version -eq 'None') { $script:Version = '' }
}

# Puts a hash of the template into the name of the REST API's deployment, so that every change of
# the template reaches the stage.
function Write-StampedTemplate {
    $names = '(ApiDeployment(?:Cors|NoCors))[0-9a-f]{8}'
    $text = [IO.File]::ReadAllText((Join-Path $PSScriptRoot 'cloudformation.yaml')).Replace("`r`n", "`n")
    $bytes = [Text.Encoding]::UTF8.GetBytes([regex]::Replace($text, $names, '$1'))
    $hash = [Security.Cryptography.SHA256]::Create().ComputeHash($bytes)
    $stamp = [BitConverter]::ToString($hash).Replace('-', '').Substring(0, 8).ToLowerInvariant()
    $script:Template = Join-Path $script:Work 'cloudformation.yaml'
    [IO.File]::WriteAllText($script:Template, [regex]::Replace($text, $names, "`${1}$stamp"))
}

function Publish-Stack {
    $overrides = @("Environment=$Environment", "Architecture=$($script:Architecture)", "ArtifactBucket=$($script:Bucket)", "ArtifactKey=$($script:Key)", "ArtifactVersion=$($script:Version)")
    # If the account already has a role for API logs, keep it, even if this stack did not create it.
    $role = aws apigateway get-account --query cloudwatchRoleArn --output text
    if ($role -eq 'None') { $overrides += 'ApiLogRole=create' }
    else {
        aws cloudformation describe-stack-resource --stack-name $script:StackName --logical-resource-id ApiAccountRole 2>$null | Out-Null
        if ($LASTEXITCODE -ne 0) { $overrides += 'ApiLogRole=existing' }
    }
    aws cloudformation validate-template --template-body "file://$($script:Template)" | Out-Null
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the template is invalid' }
    Invoke-WithEvents (@('cloudformation', 'deploy', '--stack-name', $script:StackName, '--template-file', $script:Template, '--no-fail-on-empty-changeset',
            '--capabilities', 'CAPABILITY_NAMED_IAM', '--parameter-overrides') + $overrides + $Parameter)
}

function Write-Outputs {
    $file = "outputs-$Environment.json"
    $json = aws cloudformation describe-stacks --stack-name $script:StackName --query 'Stacks[0].Outputs' --output json
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the outputs could not be read' }
    [IO.File]::WriteAllLines((Join-Path (Get-Location) $file), [string[]] $json)
    aws cloudformation describe-stacks --stack-name $script:StackName --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]' --output table | Out-Host
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the outputs could not be read' }
    Write-Step "the outputs were written to $file"
}

function Test-Deployment {
    $peer = "smoke-$(Get-Random)"
    $endpoint = aws cloudformation describe-stacks --stack-name $script:StackName --query "Stacks[0].Outputs[?OutputKey=='ApiEndpoint'] | [0].OutputValue" --output text
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the outputs could not be read' }
    # For tests: the AWS stand-in creates the API but does not run it.
    if ($env:AURORA_SMOKE_ENDPOINT) { $endpoint = $env:AURORA_SMOKE_ENDPOINT }
    Write-Step "smoke test of $endpoint"
    $body = @{ peer_id = $peer } | ConvertTo-Json -Compress
    $registration = @{ peer_id = $peer; archetypes = @('smoke-test') } | ConvertTo-Json -Compress
    Test-Response '"healthy"' "$endpoint/health"
    Test-Response 'Peer registered successfully' "$endpoint/register" $registration
    Test-Response $peer "$endpoint/discover?archetype=smoke-test"
    Test-Response 'Heartbeat updated' "$endpoint/heartbeat" $body
    Test-Response 'Peer deregistered' "$endpoint/deregister" $body
    Write-Step 'deployed: health, register, discover, heartbeat and deregister work'
}

# Repeats the request until the response contains the expected text: a new API, or another instance
# of the function, may lag by seconds.
function Test-Response([string] $Expected, [string] $Uri, [string] $Body) {
    $call = @{ Uri = $Uri; UseBasicParsing = $true; TimeoutSec = 35 }
    if ($Body) { $call += @{ Method = 'Post'; Body = $Body; ContentType = 'application/json' } }
    foreach ($attempt in 1..$SmokeAttempts) {
        try { $response = (Invoke-WebRequest @call).Content } catch { $response = "$($_.Exception.Message) $($_.ErrorDetails.Message)" }
        if ("$response".Contains($Expected)) { return }
        Start-Sleep -Seconds 1
    }
    Stop-Deployment "smoke test: unexpected response from ${Uri}: $response`nsee: aws logs tail /aws/lambda/aurora-discovery-$Environment --since 10m --region $Region"
}

function Remove-Stack {
    if ($script:Status -eq 'none') { Stop-Deployment "there is no stack $($script:StackName) in $Region" }
    if (-not $Yes) {
        $answer = Read-Host "This removes $($script:StackName) ($Environment, $Region) with its table and logs. Type the stack's name to continue"
        if ($answer -cne $script:StackName) { Stop-Deployment 'the name does not match: nothing was removed' }
    }
    # Use the id: a deleted stack cannot be found by its name.
    $script:StackName = aws cloudformation describe-stacks --stack-name $script:StackName --query 'Stacks[0].StackId' --output text
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the id of the stack could not be read' }
    aws cloudformation delete-stack --stack-name $script:StackName
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the stack could not be removed' }
    Invoke-WithEvents @('cloudformation', 'wait', 'stack-delete-complete', '--stack-name', $script:StackName)
    Remove-Item -ErrorAction SilentlyContinue "outputs-$Environment.json"
    Write-Step "removed, except for the bucket aurora-p2p-artifacts-$($script:Account)-$Region and, if this stack created it, the account's role for API logs"
}

# Runs aws and prints the stack's events meanwhile. If it fails, prints the failed resources.
function Invoke-WithEvents([string[]] $Arguments) {
    $before = @(Get-StackEvents).Count
    $script:Shown = $before
    $quoted = $Arguments | ForEach-Object { if ($_ -match '[\s,]') { "`"$_`"" } else { $_ } }
    $running = Start-Process -FilePath aws -ArgumentList $quoted -NoNewWindow -PassThru
    # Reading the handle keeps it open; without it the exit code is lost.
    $null = $running.Handle
    while (-not $running.HasExited) {
        Write-StackEvents
        Start-Sleep -Seconds 5
    }
    $running.WaitForExit()
    Write-StackEvents
    if ($running.ExitCode -eq 0) { return }
    $failed = @(Get-StackEvents | Select-Object -SkipLast $before | Where-Object { $_ -cmatch '^[A-Z_]*FAILED' -and $_ -notmatch 'cancelled' })
    if (-not $failed) { $failed = @('  (none; the reason is printed above)') }
    Stop-Deployment ("failed resources:`n" + ($failed -join "`n")) $running.ExitCode
}

# Prints new events, oldest first.
function Write-StackEvents {
    $new = @(Get-StackEvents | Select-Object -SkipLast $script:Shown)
    $script:Shown += $new.Count
    [array]::Reverse($new)
    $new | Out-Host
}

# Returns the stack's events, newest first.
function Get-StackEvents {
    $query = 'StackEvents[].[ResourceStatus,LogicalResourceId,ResourceStatusReason]'
    $lines = aws cloudformation describe-stack-events --stack-name $script:StackName --query $query --output text 2>$null
    return @($lines | ForEach-Object { $_ -replace '\s+None$', '' })
}

function Write-Step([string] $Text) {
    Write-Host "== $Text"
}

function Stop-Deployment([string] $Reason, [int] $Code = 1) {
    [Console]::Error.WriteLine("deploy.ps1: $Reason")
    exit $Code
}

if ($Help) {
    Get-Help -Detailed $PSCommandPath
    exit 0
}
# PowerShell accepts Prod for prod; AWS does not.
$Environment = $Environment.ToLowerInvariant()
$Architecture = $Architecture.ToLowerInvariant()
if (-not $StackName) {
    $StackName = if ($Environment -eq 'dev') { 'aurora-p2p-discovery' } else { "aurora-p2p-discovery-$Environment" }
}
# The API requires TLS 1.2, and Windows PowerShell offers only older versions by default.
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
# AWS CLI v2 pages its output by default.
$env:AWS_PAGER = ''
$env:AWS_REGION = $Region
$env:AWS_DEFAULT_REGION = $Region
Invoke-Main
